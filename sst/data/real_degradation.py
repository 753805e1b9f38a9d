"""LR images as the release of SSTReal makes them: Real-ESRGAN's degradations in PyTorch's arithmetic.

They differ from `sst.data.degradation` in these points: kernels have 3 to 19 pixels, in the second round and at the end
3 to 13; resizing is PyTorch's and may shift the image by a fraction of a pixel; the quality of JPEG is a real number,
and JPEG is simulated; the second round is left out half of the time.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sst.data.blur_kernels import blur_kernel, sinc_kernel
from sst.data.degradation import eight_bit, filtered, noisy, resize_factor
from sst.data.simulated_jpeg import simulated_jpeg

FIRST_SIZES, SECOND_SIZES = range(3, 20, 2), range(3, 14, 2)  # pixels a side of the kernels
GREY = 0.2989, 0.587, 0.114  # as torchvision
METHODS = ('area', 'bilinear', 'bicubic')

Options = Mapping[str, Any]


def degrade_as_released(
    hr: np.ndarray, scale: int, options: Options, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The LR image (H / scale, W / scale, 3) and its bicubic enlargement (H, W, 3) of an HR image.

    Both are uint8. What is enlarged is the LR image before it is rounded.

    Args:
        hr: (H, W, 3), uint8, RGB; sides are multiples of the scale.
        options: an option section `degradation`, with `second_prob`.
        rng: the source of all randomness.
    """
    height, width = hr.shape[:2]
    lr_size = height // scale, width // scale
    first, second = options['first'], options['second']
    image = np.divide(hr, np.float32(255), dtype=np.float32)
    image = _blurred(image, first, FIRST_SIZES, rng)
    factor = resize_factor(first['resize_prob'], first['resize_range'], rng)
    size = int(height * factor), int(width * factor)
    image = _jpeg(_with_noise(resized(image, size, _method(rng), factor), first, rng), first, rng)
    if rng.random() < options['second_prob']:
        image = _blurred(image, second, SECOND_SIZES, rng)
        factor = resize_factor(second['resize_prob'], second['resize_range'], rng)
        image = resized(image, (int(lr_size[0] * factor), int(lr_size[1] * factor)), _method(rng))
        image = _with_noise(image, second, rng)
    jpeg_last = rng.random() < 0.5
    if not jpeg_last:
        image = _jpeg(image, second, rng)
    image = resized(image, lr_size, _method(rng))
    if rng.random() < options['final_sinc_prob']:
        image = filtered(image, sinc_kernel(rng, sizes=SECOND_SIZES))
    if jpeg_last:
        image = _jpeg(image, second, rng)
    return eight_bit(image), eight_bit(resized(image, (height, width), 'bicubic'))


def resized(image: np.ndarray, size: tuple[int, int], method: str, factor: float | None = None) -> np.ndarray:
    """An image (h, w, 3), float32, of another size (H, W), by PyTorch's `interpolate` without antialiasing.

    Args:
        size: at least one pixel a side is kept.
        method: `area`, `bilinear` or `bicubic`.
        factor: of the coordinates, for all but `area`; None: that of the sizes.
    """
    target = max(size[0], 1), max(size[1], 1)
    maps = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    if factor is None or method == 'area' or target != size:
        how: dict[str, Any] = {'size': target}
    else:
        how = {'scale_factor': factor, 'recompute_scale_factor': False}  # it rounds sizes down
    corners = {} if method == 'area' else {'align_corners': False}
    return F.interpolate(maps, mode=method, **how, **corners)[0].permute(1, 2, 0).numpy()


def _method(rng: np.random.Generator) -> str:
    return METHODS[rng.integers(len(METHODS))]


def _blurred(image: np.ndarray, options: Options, sizes: range, rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= options['blur_prob']:
        return image
    return filtered(image, blur_kernel(options['blur_sigma'], options['sinc_prob'], rng, sizes, trim=False))


def _with_noise(image: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    return noisy(image, options, rng, GREY) if rng.random() < options['noise_prob'] else image


def _jpeg(image: np.ndarray, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Clipped to [0, 1], then compressed with a quality that lies evenly in the range."""
    if rng.random() >= options['jpeg_prob']:
        return image
    return simulated_jpeg(np.clip(image, 0, 1), rng.uniform(*options['jpeg_range']))
