"""MATLAB's bicubic `imresize`, bit for bit: it makes the LR images of all SR benchmarks."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from scipy.sparse import csr_array

Scale = float | Fraction
_LARGEST_DENOMINATOR = 10_000

_SHRUNK_FAST = {Fraction(1, 2): 2, Fraction(1, 3): 3, Fraction(1, 4): 4}
_STRIP = 16  # rows of the result that are computed at a time, so that all values stay in the processor's cache
_BLOCK = 4  # pixels of a row of the result that one small matrix product computes


def imresize(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Resize like MATLAB's `imresize(image, scale)`: bicubic, antialiased when shrinking.

    The vertical axis is resized first, then the horizontal one. Integer images are rounded (half up) and clipped
    after each of the two passes, as MATLAB does; floats are neither rounded nor clipped.

    Args:
        image: (H, W) or (H, W, C) array of uint8, uint16 or a float type.
        scale: Output size over input size, the same for both axes. A float means the nearest fraction with a
            denominator up to 10,000, so 1 / 3 is exactly one third.

    Returns:
        Array of the same dtype, (ceil(H * scale), ceil(W * scale)) pixels, with the same channels.

    Raises:
        TypeError: for other dtypes.
        ValueError: for other shapes, empty images and scales that are not positive.
    """
    exact_scale = _checked_scale(image, scale)
    if image.dtype.kind == 'u' and exact_scale in _SHRUNK_FAST:
        return _shrink(image, _SHRUNK_FAST[exact_scale])
    return _resize_both_axes(image, exact_scale)


def imresize_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize like MATLAB's `imresize(image, [height width])`, each axis by its own ratio; otherwise as `imresize`.

    Args:
        image: as for `imresize`.
        size: (height, width) of the result, pixels.
    """
    _check(image)
    rows = _resize_first_axis(image, _ratio(image.shape[0], size[0]))
    return np.ascontiguousarray(_resize_first_axis(rows.swapaxes(0, 1), _ratio(image.shape[1], size[1])).swapaxes(0, 1))


def imresize_rows(bands: Iterable[np.ndarray], size: tuple[int, int], to: tuple[int, int]) -> Iterator[np.ndarray]:
    """`imresize_to` for an image that arrives, and is returned, from top to bottom in bands of rows.

    Args:
        bands: float arrays (rows, W, C), of any number of rows; `size[0]` in all.
        size: (height, width) of the image, pixels.
        to: (height, width) of the result.

    Yields:
        Bands (rows, to[1], C) of the same dtype. Only the rows that the kernel still needs are kept.
    """
    vertical, across = _weights(size[0], _ratio(size[0], to[0])), _ratio(size[1], to[1])
    starts = vertical.indptr[:-1]
    # The last row that each row of the result needs, and the first row that it or any later row needs.
    needs = np.maximum.accumulate(np.maximum.reduceat(vertical.indices, starts))
    first = np.minimum.accumulate(np.minimum.reduceat(vertical.indices, starts)[::-1])[::-1]
    held, top, done = None, 0, 0
    for band in bands:
        wide = _resize_first_axis(band.swapaxes(0, 1), across).swapaxes(0, 1)
        held = wide if held is None else np.concatenate([held, wide])
        ready = int(np.searchsorted(needs, top + len(held)))
        if ready > done:
            rows = vertical[done:ready, top : top + len(held)] @ held.reshape(len(held), -1).astype(np.float64)
            yield rows.astype(held.dtype).reshape(-1, *held.shape[1:])
            done = ready
            passed = (int(first[done]) if done < len(first) else top + len(held)) - top
            held, top = held[passed:], top + passed


def imresize_reference(image: np.ndarray, scale: Scale) -> np.ndarray:
    """`imresize` without its fast path, which is tested against this bit for bit."""
    return _resize_both_axes(image, _checked_scale(image, scale))


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """A view of an image (H, W, ...), cropped on the right and bottom to multiples of `scale`.

    Raises:
        ValueError: the image is smaller than `scale`.
    """
    height, width = (size - size % scale for size in image.shape[:2])
    if not height or not width:
        raise ValueError(f'an image of {image.shape[1]}x{image.shape[0]} pixels is too small for scale {scale}')
    return image[:height, :width]


def _checked_scale(image: np.ndarray, scale: Scale) -> Fraction:
    _check(image)
    exact_scale = Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR)
    if exact_scale <= 0:
        raise ValueError(f'the scale of imresize must be above 0, not {scale}')
    return exact_scale


def _check(image: np.ndarray) -> None:
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != 'f':
        raise TypeError(f'imresize takes uint8, uint16 or float images, not {image.dtype}')
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f'imresize takes images of shape (H, W) or (H, W, C) that are not empty, not {image.shape}')


def _ratio(size: int, to: int) -> Fraction:
    if to < 1:
        raise ValueError(f'the sides of an image must be at least 1 pixel, not {to}')
    return Fraction(to, size)


def _resize_both_axes(image: np.ndarray, scale: Fraction) -> np.ndarray:
    shrunk_rows = _resize_first_axis(image, scale)
    return np.ascontiguousarray(_resize_first_axis(shrunk_rows.swapaxes(0, 1), scale).swapaxes(0, 1))


def _resize_first_axis(image: np.ndarray, scale: Fraction) -> np.ndarray:
    size = image.shape[0]
    columns = np.ascontiguousarray(image).reshape(size, -1)  # (size, everything else)
    result = _weights(size, scale) @ columns.astype(np.float64)
    if image.dtype.kind == 'u':
        np.clip(result, 0, np.iinfo(image.dtype).max, out=result)
        result += 0.5  # the cast below truncates: half is rounded up
    return result.astype(image.dtype).reshape(-1, *image.shape[1:])


@lru_cache(maxsize=64)
def _weights(size: int, scale: Fraction) -> csr_array:
    """(ceil(size * scale), size) matrix that resizes one axis.

    Positions are exact fractions. A pixel that appears twice through the mirrored border keeps two entries, so that
    sums have MATLAB's order.
    """
    out_size = math.ceil(size * scale)
    stretch = max(1 / scale, Fraction(1))  # when shrinking, the kernel is wider by this factor
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


def _shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Both passes for a scale of 1/2, 1/3 or 1/4, strip by strip, as small dense matrix products.

    The library chooses the order of a product's sums, and yet the result is the same bit for bit. For 1/2 and 1/4 the
    weights are multiples of 1/256 and 1/4096, so every sum of 8-bit values is exact in float32. For 1/3 they are
    multiples of 1/81, so no exact sum is nearer to a half than 1/162, which is far more than rounding errors. 16-bit
    values are computed in float64.
    """
    precision = np.dtype(np.float32 if image.dtype == np.uint8 else np.float64)
    largest = np.iinfo(image.dtype).max
    height, width = image.shape[:2]
    pixels = image.reshape(height, width, -1)  # (H, W, C)
    channels = pixels.shape[2]
    out_height, out_width = -(-height // factor), -(-width // factor)
    rows, row_border = _band(factor, _STRIP)
    columns, column_border = _band(factor, _BLOCK)
    to_rows = rows.astype(precision)  # (strip, rows it needs)
    to_columns = np.kron(columns.T, np.eye(channels)).astype(precision)  # (columns it needs * C, block * C)
    blocks, seen = -(-out_width // _BLOCK), len(to_columns)

    padded = np.pad(pixels, (row_border, (0, 0), (0, 0)), mode='symmetric').reshape(-1, width * channels)
    result = np.empty((out_height, blocks, _BLOCK * channels), image.dtype)
    for top in range(0, out_height, _STRIP):
        strip = padded[top * factor : top * factor + to_rows.shape[1]].astype(precision)
        shrunk = _round(to_rows @ strip, largest).reshape(_STRIP, width, channels)
        wide = np.pad(shrunk, ((0, 0), column_border, (0, 0)), mode='symmetric')
        step = _BLOCK * factor * wide.strides[1]
        windows = as_strided(wide, (blocks, _STRIP, seen), (step, wide.strides[0], wide.itemsize))  # they overlap
        values = _round(windows @ to_columns, largest).swapaxes(0, 1)  # (strip, blocks, block * C)
        result[top : top + _STRIP] = values[: out_height - top]
    result = result.reshape(out_height, -1)[:, : out_width * channels]
    return np.ascontiguousarray(result).reshape(out_height, out_width, *image.shape[2:])


@lru_cache(maxsize=64)
def _band(factor: int, count: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Weights (count, pixels needed) of `count` neighbours, and the borders that they need before and after an axis."""
    taps = 4 * factor - factor % 2
    weights = _cubic((np.arange(taps) - (taps - 1) / 2) / factor)
    band = np.zeros((count, (count - 1) * factor + taps))
    for i in range(count):
        band[i, i * factor : i * factor + taps] = weights / weights.sum()
    before = (taps - factor) // 2
    # The last strip may reach beyond the image, so the border is long enough for any size of the axis.
    return band, (before, before + count * factor)


def _round(values: np.ndarray, largest: int) -> np.ndarray:
    """Clip and round half up, in place, still as floats."""
    np.clip(values, 0, largest, out=values)
    values += 0.5
    return np.floor(values, out=values)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
