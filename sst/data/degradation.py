"""LR pictures as cameras and the internet leave them: Real-ESRGAN's second-order degradations, on the CPU.

Two rounds of blur, resizing, noise and JPEG, and a last low-pass filter (arXiv 2107.10833, section 3). Random numbers
come from the generator that is passed in, and from nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from sst.data.blur_kernels import blur_kernel, sinc_kernel
from sst.ops.imresize import imresize

METHODS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)

Options = Mapping[str, Any]


def degrade(hr: np.ndarray, scale: int, options: Options, rng: np.random.Generator) -> np.ndarray:
    """The LR picture (H / scale, W / scale, 3) of an HR picture (H, W, 3), both uint8, RGB, registered.

    Where no blur, resizing, noise, JPEG and low-pass filter is drawn at all, it is MATLAB's bicubic, but for rounding.

    Args:
        hr: sides are multiples of the scale.
        options: an option section `degradation`.
        rng: the source of all randomness.
    """
    height, width = hr.shape[:2]
    lr_size = height // scale, width // scale
    first, second = options['first'], options['second']
    image = np.divide(hr, np.float32(255), dtype=np.float32)
    image = _jpeg(_blurred_resized_noisy(image, (height, width), first, rng), first, rng)
    image = _blurred_resized_noisy(image, lr_size, second, rng)
    if jpeg_first := rng.random() < 0.5:
        image = _jpeg(image, second, rng)
    image = _resize(image, lr_size, rng)
    if rng.random() < options['final_sinc_prob']:
        image = filtered(image, sinc_kernel(rng))
    return eight_bit(image if jpeg_first else _jpeg(image, second, rng))


def _blurred_resized_noisy(
    image: np.ndarray, size: tuple[int, int], options: Options, rng: np.random.Generator
) -> np.ndarray:
    """A round but for its JPEG; `size` (height, width) is what resizing is relative to."""
    if rng.random() < options['blur_prob']:
        image = filtered(image, blur_kernel(options['blur_sigma'], options['sinc_prob'], rng))
    factor = resize_factor(options['resize_prob'], options['resize_range'], rng)
    image = _resize(image, (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)), rng)
    return noisy(image, options, rng) if rng.random() < options['noise_prob'] else image


def filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """An image (H, W, 3), float32, correlated with a kernel (k, k); its border is reflected, without the edge pixel."""
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def resize_factor(shares: Sequence[float], limits: Sequence[float], rng: np.random.Generator) -> float:
    """A random factor between `limits`; `shares` tell how often the picture is enlarged, shrunk and kept."""
    draw, low, high = rng.random(), *limits
    if draw < shares[0]:
        return rng.uniform(1, high)
    return rng.uniform(low, 1) if draw < shares[0] + shares[1] else 1.0


def _resize(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """To (height, width), by a random method without antialiasing, as published; to whole fractions by MATLAB's."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    factor, rest = divmod(height, size[0])
    if rest == 0 and width == factor * size[1]:
        return imresize(image, 1 / factor)
    return cv2.resize(image, size[::-1], interpolation=METHODS[rng.integers(len(METHODS))])


def noisy(
    image: np.ndarray, options: Options, rng: np.random.Generator, grey_weights: Sequence[float] | None = None
) -> np.ndarray:
    """With Gaussian or Poisson noise, which may be the same in all channels, clipped to [0, 1].

    Args:
        image: (H, W, 3), float32, RGB in [0, 1].
        options: an option section `first` or `second`.
        rng: the source of all randomness.
        grey_weights: of red, green and blue in the grey image whose Poisson noise all channels get; None: OpenCV's.
    """
    gaussian, grey = rng.random(2) < (options['gaussian_noise_prob'], options['gray_noise_prob'])
    if gaussian:
        strength = np.float32(rng.uniform(*options['noise_range']) / 255)
        noise = rng.standard_normal((*image.shape[:2], 1 if grey else 3), dtype=np.float32)
    else:
        strength = np.float32(rng.uniform(*options['poisson_scale_range']))
        noise = poisson_noise(_grey(image, grey_weights) if grey else image, rng)
    noise *= strength
    return np.clip(image + noise, 0, 1)


def _grey(image: np.ndarray, weights: Sequence[float] | None) -> np.ndarray:
    if weights is None:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return image @ np.array(weights, np.float32)[:, None]


def poisson_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shot noise of an image in [0, 1] (H, W, C), whose full scale is as many photons as it has grey levels.

    As in BasicSR and scikit-image: the number of levels is rounded up to a power of two.
    """
    levels = np.clip(np.rint(image * 255), 0, 255)
    photons = 2 ** np.ceil(np.log2(len(np.unique(levels.astype(np.uint8)))))
    levels /= 255
    return (rng.poisson(levels * photons) / photons - levels).astype(np.float32)


def _jpeg(image: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= options['jpeg_prob']:
        return image
    low, high = options['jpeg_range']
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(low, high, endpoint=True))]
    encoded = cv2.imencode('.jpg', cv2.cvtColor(eight_bit(image), cv2.COLOR_RGB2BGR), quality)[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]  # RGB
    return np.divide(decoded, np.float32(255), dtype=np.float32)


def eight_bit(image: np.ndarray) -> np.ndarray:
    """Values in [0, 1], rounded and clipped, to uint8."""
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
