"""Whether an image was compressed so much that a network for clean images would sharpen the traces of it."""

from pathlib import Path

import numpy as np

from sst.inference.enlarging import as_floats, rgb_of
from sst.upscaling.pictures import ImageFile
from sst.utils.pixels import opened

_LUMINANCE = 3688  # sum of JPEG's own luminance table (Annex K of the standard), which has quality 50
# At 85 SST-tiny-robust-x4 was 0.3 dB better than SST-tiny-x4, at 95 0.1 dB worse (mean PSNR of 13 photographs).
LOW_QUALITY = 85
_BLOCK = 8  # pixels a side
_VISIBLE_STEP = 2  # levels of 255 by which a step at a block's border exceeds its neighbours
_SHARE = 0.5  # of the visible steps that lie at borders; without blocks it is 1 in 8
_MOST = 1024  # pixels a side that are examined, from the middle


def looks_compressed(path: Path, image: ImageFile) -> bool:
    """Whether a JPEG's tables show a low quality, or another image shows blocks of 8 x 8 pixels."""
    if image.format == 'JPEG':
        quality = jpeg_quality(path)
        return quality is not None and quality < LOW_QUALITY
    return isinstance(image.samples, np.ndarray) and shows_blocks(image.samples)


def jpeg_quality(path: Path) -> int | None:
    """The quality, 1 to 100, whose luminance table is about as coarse as a JPEG's; None if the file has no table."""
    with open(path, 'rb') as file, opened(file, ('JPEG', 'MPO')) as image:
        table = getattr(image, 'quantization', {}).get(0)
    if not table:
        return None
    scale = 100 * sum(table) / _LUMINANCE
    return round(max(1, min(100, (200 - scale) / 2 if scale <= 100 else 5000 / scale)))


def shows_blocks(samples: np.ndarray) -> bool:
    """Whether most visible steps in brightness lie where blocks of 8 x 8 pixels meet, in both directions.

    Args:
        samples: (H, W, C) uint8 or uint16; blocks are counted from the top left corner.
    """
    top, left = (max(0, (size - _MOST) // 2) // _BLOCK * _BLOCK for size in samples.shape[:2])
    part = samples[top : top + _MOST, left : left + _MOST]
    grey = 255 * rgb_of(as_floats(part)).mean(axis=2)
    return all(_share_at_borders(direction) > _SHARE for direction in (grey, grey.T))


def _share_at_borders(grey: np.ndarray) -> float:
    """The share of the visible steps along rows that lies at borders of blocks; 0 if few steps are visible."""
    rows = len(grey) // _BLOCK
    steps = np.abs(np.diff(grey[: rows * _BLOCK], axis=1))
    excess = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2  # over the neighbours of steps 1, 2, ...
    excess = excess[:, 3:]  # from step 4 on, so that step 7, at a border, has as many on either side
    columns = excess.shape[1] // _BLOCK
    if not rows or not columns:
        return 0
    excess = excess[:, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=1).reshape(-1, _BLOCK)
    clear = excess.max(axis=1) > _VISIBLE_STEP
    if clear.sum() < 30 or clear.mean() < 0.05:
        return 0
    return float((excess[clear].argmax(axis=1) == 3).mean())
