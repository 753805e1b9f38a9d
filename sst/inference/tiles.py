"""Pictures in tiles, so that memory depends on the tile and not on the picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in LR pixels: it reads `start` ... `stop` and answers for `first` ... `last` of it.

    Neighbours share a border, around which one fades into the other over `fade` pixels.
    """

    start: int
    stop: int
    first: int
    last: int
    fade: int

    def weights(self, size: int, scale: int) -> Tensor:
        """(scale * (stop - start),) shares of this tile in the picture of `size` LR pixels, with its neighbours' 1."""
        places = (torch.arange(scale * (self.stop - self.start)) + 0.5) / scale + self.start
        share = torch.ones_like(places)
        if self.first > 0:
            share = torch.minimum(share, 0.5 + (places - self.first) / max(self.fade, 1e-6))
        if self.last < size:
            share = torch.minimum(share, 0.5 + (self.last - places) / max(self.fade, 1e-6))
        return share.clamp(0, 1)


def spans(size: int, tile: int, overlap: int, multiple: int = 1) -> list[Span]:
    """Cut an axis of `size` LR pixels into tiles.

    Args:
        size: at least 1.
        tile: pixels that a tile answers for, rounded up to a multiple of `multiple`.
        overlap: pixels that it reads beyond on either side, rounded up likewise.
        multiple: tiles begin on multiples of it, so that a network's windows lie as in the whole picture.
    """
    tile, overlap = (math.ceil(length / multiple) * multiple for length in (tile, overlap))
    if size <= tile + overlap:
        return [Span(0, size, 0, size, 0)]
    borders = [*range(0, size, tile), size]
    if borders[-1] - borders[-2] <= overlap:  # a rest that the last tile reads anyway
        del borders[-2]
    # The outer half of what a tile reads beyond its border lacks most of the context: only the inner half is used.
    return [
        Span(max(first - overlap, 0), min(last + overlap, size), first, last, min(overlap, tile))
        for first, last in pairwise(borders)
    ]


@torch.no_grad()
def tiled(
    predict: Callable[[Tensor], Tensor],
    lr: Tensor,
    *,
    scale: int,
    tile: int,
    overlap: int,
    multiple: int = 1,
) -> Tensor:
    """Enlarge a picture tile by tile; arguments as for `spans`.

    A picture that fits one tile gives exactly what `predict` gives. Otherwise the result is exact where the network
    looks no further than `overlap` / 2, and close elsewhere: tiles fade into each other.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C, scale * h, scale * w), for any h and w.
        lr (Tensor): (B, C, h, w), on the network's device.

    Returns:
        Tensor: (B, C, scale * h, scale * w), on the CPU if there are several tiles.
    """
    height, width = lr.shape[-2:]
    rows, columns = (spans(size, tile, overlap, multiple) for size in (height, width))
    if len(rows) == len(columns) == 1:
        return predict(lr)
    result = torch.zeros(*lr.shape[:-2], scale * height, scale * width)
    for row in rows:
        for column in columns:
            answer = predict(lr[..., row.start : row.stop, column.start : column.stop].contiguous()).float().cpu()
            share = row.weights(height, scale)[:, None] * column.weights(width, scale)
            area = result[..., scale * row.start : scale * row.stop, scale * column.start : scale * column.stop]
            area += answer * share
    return result


def window_multiple(net: nn.Module) -> int:
    """The least common multiple of a network's windows (`net.options['window_sizes']`), 1 where it has none."""
    return math.lcm(*getattr(net, 'options', {}).get('window_sizes', [1]))
