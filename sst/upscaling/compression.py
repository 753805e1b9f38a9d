"""Whether a picture was compressed so much that a network for clean pictures would sharpen what that left in it."""

from pathlib import Path

import numpy as np

from sst.inference.enlarging import as_floats, rgb_of
from sst.upscaling.pictures import ImageFile
from sst.utils.pixels import opened

_LUMINANCE = 3688  # sum of JPEG's own table of luminance (Annex K of the standard), which is that of quality 50
# At 85 SST-tiny-robust-x4 was 0.3 dB better than SST-tiny-x4, at 95 0.1 dB worse (mean PSNR of 13 photographs).
LOW_QUALITY = 85
_BLOCK = 8  # pixels a side
_STEP = 2  # levels of 255 that a step at a block's border is to stand out for being seen
_SHARE = 0.5  # of the steps that stand out; without blocks 1 in 8 is at a border
_MOST = 1024  # pixels a side that are looked at, from the middle


def looks_compressed(path: Path, image: ImageFile) -> bool:
    """Whether a JPEG's tables tell of a low quality, or blocks of 8 x 8 pixels are to be seen in another picture."""
    if image.format == 'JPEG':
        quality = jpeg_quality(path)
        return quality is not None and quality < LOW_QUALITY
    samples = image.samples
    return isinstance(samples, np.ndarray) and shows_blocks(samples)


def jpeg_quality(path: Path) -> int | None:
    """The quality, 1 to 100, whose table of luminance is about as coarse as a JPEG's; None where there is no table."""
    with open(path, 'rb') as file, opened(file, ('JPEG', 'MPO')) as image:
        table = getattr(image, 'quantization', {}).get(0)
    if not table:
        return None
    scale = 100 * sum(table) / _LUMINANCE
    return round(max(1, min(100, (200 - scale) / 2 if scale <= 100 else 5000 / scale)))


def shows_blocks(samples: np.ndarray) -> bool:
    """Whether most steps in brightness that stand out lie where blocks of 8 x 8 pixels meet, in both directions.

    Args:
        samples: (H, W, C) uint8 or uint16, the blocks counted from the top left corner.
    """
    top, left = (max(0, (size - _MOST) // 2) // _BLOCK * _BLOCK for size in samples.shape[:2])
    part = samples[top : top + _MOST, left : left + _MOST]
    grey = 255 * rgb_of(as_floats(part)).mean(axis=2)
    return all(_share_at_borders(way) > _SHARE for way in (grey, grey.T))


def _share_at_borders(grey: np.ndarray) -> float:
    """Of the steps along rows that stand out, which part is at a border of blocks; 0 where few stand out."""
    rows = len(grey) // _BLOCK
    steps = np.abs(np.diff(grey[: rows * _BLOCK], axis=1))
    beyond = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2  # how much larger than its neighbours: steps 1, 2, ...
    beyond = beyond[:, 3:]  # from step 4 on, so that step 7, at a border, has as many on either side
    columns = beyond.shape[1] // _BLOCK
    if not rows or not columns:
        return 0
    beyond = beyond[:, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=1).reshape(-1, _BLOCK)
    clear = beyond.max(axis=1) > _STEP
    if clear.sum() < 30 or clear.mean() < 0.05:
        return 0
    return float((beyond[clear].argmax(axis=1) == 3).mean())
