"""MATLAB's bicubic `imresize`, to the bit: the recipe behind the LR images of all SR benchmarks."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

Scale = float | Fraction
_LARGEST_DENOMINATOR = 10_000


def imresize(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Resize like MATLAB's `imresize(image, scale)`: bicubic, antialiased when shrinking.

    The vertical axis is resized first, then the horizontal one. Integer pictures are rounded (half up) and clipped
    after each of the two passes, as MATLAB does; floats are neither rounded nor clipped.

    Args:
        image: (H, W) or (H, W, C) array of uint8, uint16 or a float type.
        scale: Output size over input size, the same for both axes. A float stands for the nearest fraction with a
            denominator up to 10,000, so 1 / 3 means exactly one third.

    Returns:
        Array of the same dtype, (ceil(H * scale), ceil(W * scale)) pixels, with the same channels.

    Raises:
        TypeError: for other dtypes.
        ValueError: for other shapes, empty pictures and scales that are not positive.
    """
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != 'f':
        raise TypeError(f'imresize takes uint8, uint16 or float pictures, not {image.dtype}')
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f'imresize takes pictures of shape (H, W) or (H, W, C) with pixels in them, not {image.shape}')
    exact_scale = Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR)
    if exact_scale <= 0:
        raise ValueError(f'imresize needs a scale above 0, not {scale}')
    shrunk_rows = _resize_first_axis(image, exact_scale)
    return np.ascontiguousarray(_resize_first_axis(shrunk_rows.swapaxes(0, 1), exact_scale).swapaxes(0, 1))


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """View of an (H, W, ...) picture without the last rows and columns that do not fill a multiple of `scale`.

    Raises:
        ValueError: if the picture is smaller than `scale`.
    """
    height, width = (size - size % scale for size in image.shape[:2])
    if not height or not width:
        raise ValueError(f'a picture of {image.shape[1]}x{image.shape[0]} pixels is too small for scale {scale}')
    return image[:height, :width]


def _resize_first_axis(image: np.ndarray, scale: Fraction) -> np.ndarray:
    size = image.shape[0]
    columns = np.ascontiguousarray(image).reshape(size, -1)  # (size, everything else)
    result = _weights(size, scale) @ columns.astype(np.float64)
    if image.dtype.kind == 'u':
        np.clip(result, 0, np.iinfo(image.dtype).max, out=result)
        result += 0.5  # the cast below cuts off: half up
    return result.astype(image.dtype).reshape(-1, *image.shape[1:])


@lru_cache(maxsize=64)
def _weights(size: int, scale: Fraction) -> csr_array:
    """(ceil(size * scale), size) matrix that resizes one axis.

    Positions are exact fractions. A pixel that the mirrored border shows twice stays two entries, so that each sum runs
    in MATLAB's order.
    """
    out_size = math.ceil(size * scale)
    stretch = max(1 / scale, Fraction(1))  # the kernel is this much wider when shrinking
    taps = math.ceil(4 * stretch) + 2
    # centre of output pixel i, in input pixels: (i + 1/2) / scale - 1/2
    centres = [(i + Fraction(1, 2)) / scale - Fraction(1, 2) for i in range(out_size)]
    lefts = [math.floor(centre - 2 * stretch) for centre in centres]
    fractions = np.array([float((centre - left) / stretch) for centre, left in zip(centres, lefts, strict=True)])
    offsets = np.array([float(tap / stretch) for tap in range(taps)])
    weights = _cubic(fractions[:, None] - offsets)  # (out_size, taps)
    weights /= weights.sum(axis=1, keepdims=True)

    positions = np.array(lefts)[:, None] + np.arange(taps)
    mirrored = positions % (2 * size)
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    used = weights != 0
    starts = np.concatenate([[0], used.sum(axis=1).cumsum()])
    return csr_array((weights[used], mirrored[used], starts), shape=(out_size, size))


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
