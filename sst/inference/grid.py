"""Tiles as MambaIR, MambaIRv2 and ART are tested with, so that published figures can be met."""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def grid_tiled(predict: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, size: int) -> Tensor:
    """Enlarge an image in a grid of equal tiles.

    An axis of n pixels gets n // size + 1 tiles. The image is reflected at the right and bottom until they are equal. A
    tile reads a tenth of its side of each neighbour, of which nothing is left in the result.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C, scale * h, scale * w).
        lr (Tensor): (B, C, h, w).
        size (int): 200 in the published tests.

    Returns:
        Tensor: (B, C, scale * h, scale * w).
    """
    height, width = lr.shape[-2:]
    counts = [axis // size + 1 for axis in (height, width)]
    bottom, right = -height % counts[0], -width % counts[1]
    if bottom or right:
        lr = F.pad(lr, (0, right, 0, bottom), 'reflect')
    tiles = [axis // count for axis, count in zip(lr.shape[-2:], counts, strict=True)]
    result = lr.new_empty(*lr.shape[:-2], scale * lr.shape[-2], scale * lr.shape[-1], dtype=torch.float32)
    for row, column in product(*map(range, counts)):
        (top, first, last), (left, begin, end) = (
            _span(index, tile, axis) for index, tile, axis in zip((row, column), tiles, lr.shape[-2:], strict=True)
        )
        sr = predict(lr[..., top : last + tiles[0] // 10, left : end + tiles[1] // 10])
        own = sr[..., scale * (first - top) : scale * (last - top), scale * (begin - left) : scale * (end - left)]
        result[..., scale * first : scale * last, scale * begin : scale * end] = own
    return result[..., : scale * height, : scale * width]


def _span(index: int, tile: int, axis: int) -> tuple[int, int, int]:
    """Where a tile starts to read, and the pixels that it is responsible for."""
    first = index * tile
    return max(first - tile // 10, 0), first, min(first + tile, axis)
