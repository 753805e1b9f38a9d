"""Images that a run leaves: files, and samples for TensorBoard."""

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sst.models.evaluation import EvaluatedImage
from sst.ops.imresize import imresize
from sst.utils.errors import UserError

SAMPLE_SIZE = 512  # pixels of a sample's HR side at most


def write_png(image: np.ndarray, path: str) -> None:
    """Write an (H, W, 3) uint8 BGR image as PNG. Raises `UserError` when it cannot."""
    try:
        # not by BasicSR's imwrite: OpenCV's crashes on file names that are no text
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(cv2.imencode('.png', image)[1].tobytes())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error}; make room or correct the rights') from error


def comparison(image: EvaluatedImage) -> np.ndarray:
    """Bicubic, SR and, where there is one, HR, side by side: (H, 2 W or 3 W, 3) uint8 in BGR order."""
    lr = (255 * image.lr[0]).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()[..., ::-1]
    bicubic = imresize(np.ascontiguousarray(lr), image.sr.shape[0] / lr.shape[0])
    return np.hstack([array for array in (bicubic, image.sr, image.hr) if array is not None])


def side_by_side(image: EvaluatedImage) -> Tensor:
    """LR (enlarged), SR and, where there is one, HR of an image's centre, as (3, H, W) RGB in [0, 1]."""
    height, width = image.sr.shape[:2]
    lr = F.interpolate(image.lr, size=(height, width), mode='nearest')[0]
    arrays = [array for array in (image.sr, image.hr) if array is not None]
    views = [lr] + [torch.from_numpy(array[..., ::-1].copy()).permute(2, 0, 1) / 255 for array in arrays]
    top, left = max(0, height - SAMPLE_SIZE) // 2, max(0, width - SAMPLE_SIZE) // 2
    return torch.cat([view[:, top : top + SAMPLE_SIZE, left : left + SAMPLE_SIZE] for view in views], dim=2).clamp(0, 1)
