"""How an image is cut into tiles along one axis."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in LR pixels: it reads `start` to `stop` and is responsible for `first` to `last`.

    Neighbours share a border and fade into each other around it, over `fade` pixels.
    """

    start: int
    stop: int
    first: int
    last: int
    fade: int

    def weights(self, size: int, scale: int) -> Tensor:
        """The tile's weights (scale * (stop - start),) in an axis of `size` LR pixels; those of all tiles add to 1."""
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
        tile: pixels that a tile is responsible for, rounded up to a multiple of `multiple`.
        overlap: pixels that it reads beyond them on either side.
        multiple: tiles begin at multiples of it, so that a network's windows lie as in the whole image.
    """
    tile = rounded_up(tile, multiple)
    count = max(math.ceil((size - 2 * overlap) / tile), 1)
    tile = rounded_up((size - 2 * overlap) / count, multiple)  # as many, but of equal sizes
    # All tiles read the same number of pixels, so that the memory of one fits the next.
    read = side_of_tile(tile, overlap, multiple)
    read += (size - read) % multiple
    if read >= size:
        return [Span(0, size, 0, size, 0)]
    steps, count = (size - read) // multiple, math.ceil((size - read) / tile)
    starts = [multiple * (index * steps // count) for index in range(count + 1)]
    # Neighbours share a border in the middle of what both read, and fade into each other there. The outer part of what
    # both read is not used, because it lacks most of its context.
    borders = [0, *((start + before + read) // 2 for before, start in pairwise(starts)), size]
    fade = min(overlap, *(last - first for first, last in pairwise(borders)))
    return [
        Span(start, start + read, first, last, fade)
        for start, (first, last) in zip(starts, pairwise(borders), strict=True)
    ]


def side_of_tile(tile: int, overlap: int, multiple: int) -> int:
    """LR pixels a side that a tile reads: those that it is responsible for and the overlap, rounded up."""
    return rounded_up(tile + 2 * overlap, multiple)


def rounded_up(length: float, multiple: int) -> int:
    """The least positive multiple that is not less than a length."""
    return max(math.ceil(length / multiple), 1) * multiple
