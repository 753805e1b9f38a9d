"""What the training samples of all datasets share."""

import random

import numpy as np
import torch
from torch import Tensor


def random_place(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """(top, left) of a random crop of `size` pixels a side; 0 along an axis that is shorter."""
    height, width = shape
    top = random.randint(0, max(height - size, 0))
    return top, random.randint(0, max(width - size, 0))


def to_tensor(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1], the values of BasicSR's `astype(float32) / 255.`."""
    return torch.from_numpy(np.divide(picture.transpose(2, 0, 1), np.float32(255), dtype=np.float32))
