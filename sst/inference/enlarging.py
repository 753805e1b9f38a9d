"""Enlarges arrays of samples by a network of three channels, including grey images and transparency."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sst.inference.tiles import Tiler
from sst.ops.imresize import imresize_rows
from sst.utils.errors import UserError

_BAND = 1 << 22  # pixels converted at a time
_INVISIBLE = 0.5 / 255  # alpha values below this are 0 in 8 bits


@dataclass(frozen=True)
class Bands:
    """Samples that are computed from top to bottom each time they are iterated, and are never all in memory.

    Args:
        shape: (H, W, C) of all rows.
        compute: yields float32 arrays (rows, W, C) in [0, 1], H rows in all.
    """

    shape: tuple[int, int, int]
    compute: Callable[[], Iterator[np.ndarray]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.compute()


Samples = np.ndarray | Bands  # (H, W, C); an array is uint8, uint16 or float32 in [0, 1]


def bands_of(samples: Samples) -> Iterator[np.ndarray]:
    """Samples as float32 arrays (rows, W, C) in [0, 1], from top to bottom."""
    if isinstance(samples, Bands):
        yield from samples
        return
    rows = max(1, _BAND // samples.shape[1])
    for top in range(0, len(samples), rows):
        yield as_floats(samples[top : top + rows])


def whole(samples: Samples) -> np.ndarray:
    """Samples as one float32 array (H, W, C) in [0, 1]."""
    result, top = np.empty(samples.shape, np.float32), 0
    for band in bands_of(samples):
        result[top : top + len(band)] = band
        top += len(band)
    return result


def as_floats(samples: np.ndarray) -> np.ndarray:
    """Samples of a file, uint8 or uint16, as float32 in [0, 1]; floats as they are."""
    if samples.dtype.kind == 'f':
        return samples
    return np.divide(samples, np.float32(np.iinfo(samples.dtype).max), dtype=np.float32)


def rgb_of(samples: np.ndarray) -> np.ndarray:
    """The colours (..., 3) of samples (..., C); grey becomes three equal channels."""
    return np.repeat(samples[..., :1], 3, axis=-1) if samples.shape[-1] < 3 else samples[..., :3]


def enlarge(
    samples: Samples,
    tiler: Tiler,
    size: tuple[int, int] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Bands:
    """Enlarge samples; the result is computed while it is iterated.

    Invisible pixels get the nearest visible colours before the network sees them, so that no hidden colour bleeds into
    the image. Grey images go through the network as three equal channels, and the mean of the result is used.

    Transparency is enlarged by bicubic interpolation, because it is a mask and not a photograph. A network trained on
    photographs would add texture to it, and would take twice the time.

    Args:
        samples: (H, W, C), C = 1 to 4: grey, grey and alpha, RGB, RGBA.
        tiler: the network, applied to float32 RGB in [0, 1], (1, 3, H, W) on the CPU.
        size: (height, width) of the result in pixels; MATLAB's `imresize` resizes the network's result to
            it. None: the size of the network's result.
        on_tile: called with the number of finished tiles and of all tiles.

    Raises, while the result is iterated:
        UserError: the network gives values that are not finite, or there is not enough memory for any tile.
    """
    height, width, channels = samples.shape
    given = (tiler.scale * height, tiler.scale * width)
    wanted = size or given

    def compute() -> Iterator[np.ndarray]:
        bands = _colours(samples, tiler, on_tile)
        if wanted != given:
            bands = imresize_rows(bands, given, wanted)
        if channels in (2, 4):
            alphas = (band[..., -1:] for band in bands_of(samples))
            bands = _with_alpha(bands, imresize_rows(alphas, (height, width), wanted))
        for band in bands:
            yield band.clip(0, 1)

    return Bands((*wanted, channels), compute)


def _colours(samples: Samples, tiler: Tiler, on_tile: Callable[[int, int], None] | None) -> Iterator[np.ndarray]:
    """Bands (rows, W, 1 or 3) from the network."""
    height, width, channels = samples.shape
    array = whole(samples) if isinstance(samples, Bands) else samples
    if channels in (2, 4):
        array = _filled(array)

    def read(top: int, bottom: int) -> Tensor:
        rgb = np.ascontiguousarray(rgb_of(as_floats(array[top:bottom])).transpose(2, 0, 1))
        return torch.from_numpy(rgb)[None]

    for rows in tiler.rows(read, height, width, on_tile):
        if not rows.isfinite().all():
            raise UserError('the network gives values that are not finite; run it in float32, or use other weights')
        band = rows[0].permute(1, 2, 0).clamp(0, 1)
        yield (band.mean(dim=2, keepdim=True) if channels < 3 else band).contiguous().numpy()


def _filled(samples: np.ndarray) -> np.ndarray:
    """Samples (H, W, C) with the nearest visible colour in place of each invisible one."""
    invisible = as_floats(samples[..., -1]) < _INVISIBLE
    if not invisible.any() or invisible.all():
        return samples
    rows, columns = distance_transform_edt(invisible, return_distances=False, return_indices=True)
    return samples[rows, columns]


def _with_alpha(colours: Iterator[np.ndarray], alphas: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Join two streams of the same rows, whose bands may have different heights."""
    rest = next(alphas)
    for band in colours:
        while len(rest) < len(band):
            rest = np.concatenate([rest, next(alphas)])
        yield np.concatenate([band, rest[: len(band)]], axis=2)
        rest = rest[len(band) :]
