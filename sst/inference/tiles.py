"""Pictures in tiles, so that memory depends on the tile and not on the picture."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sst.inference.memory import is_out_of_memory, let_go
from sst.utils.errors import UserError

Predict = Callable[[Tensor], Tensor]


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
    tile = math.ceil(size / math.ceil(size / tile) / multiple) * multiple  # as many tiles, as equal as can be
    # All read equally much: what one tile frees then fits the next, where memory is kept.
    read = tile + 2 * overlap
    read += (size - read) % multiple
    if read >= size:
        return [Span(0, size, 0, size, 0)]
    borders = [*range(0, size, tile), size]
    if borders[-1] - borders[-2] <= overlap:  # a rest that the last tile reads anyway
        del borders[-2]
    # The outer half of what a tile reads beyond its border lacks most of the context: only the inner half is used.
    starts = [min(max(first - overlap, 0), size - read) for first in borders[:-1]]
    return [
        Span(start, start + read, first, last, min(overlap, tile))
        for start, (first, last) in zip(starts, pairwise(borders), strict=True)
    ]


class Tiler:
    """A network applied to pictures of any size, tile by tile, the finished rows given out as soon as they are.

    A picture that fits one tile gives exactly what the network gives. Otherwise the result is exact where the network
    looks no further than `overlap` / 2, and close elsewhere: tiles fade into each other. A tile for which memory does
    not suffice is cut in two, and so are those of its size from then on.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C', scale * h, scale * w), for any h and w.
        scale (int): of the network.
        tile: LR pixels a side that a tile answers for; None: whole pictures; or a function that says so for a picture
            of (height, width) LR pixels.
        overlap (int): LR pixels that a tile reads beyond its border.
        multiple (int): tiles begin on multiples of it: `window_multiple` of the network.
    """

    def __init__(
        self,
        predict: Predict,
        scale: int,
        *,
        tile: int | Callable[[int, int], int | None] | None = None,
        overlap: int = 32,
        multiple: int = 1,
    ) -> None:
        self.predict, self.scale, self.tile = predict, scale, tile
        self.overlap, self.multiple = overlap, multiple
        self.most = math.inf  # LR pixels that are known to fit into memory at once

    def cut(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The tiles of a picture along both axes."""
        tile = self.tile(height, width) if callable(self.tile) else self.tile
        if tile is None:
            return spans(height, height, 0), spans(width, width, 0)
        rows, columns = (spans(size, tile, self.overlap, self.multiple) for size in (height, width))
        return rows, columns

    @torch.no_grad()
    def rows(
        self,
        read: Callable[[int, int], Tensor],
        height: int,
        width: int,
        on_tile: Callable[[int, int], None] | None = None,
    ) -> Iterator[Tensor]:
        """The enlarged picture from top to bottom.

        Args:
            read (Callable): gives the LR rows from the first to before the second, (B, C, rows, width).
            height, width: of the picture, LR pixels.
            on_tile (Callable): called with the number of tiles that are done, and of all.

        Yields:
            Tensor: (B, C', rows, scale * width) float32 on the CPU.

        Raises:
            UserError: memory suffices for no tile.
        """
        rows, columns = self.cut(height, width)
        begun: Tensor | None = None  # what the tiles above say of the rows of the next ones
        done = 0
        for index, row in enumerate(rows):
            lr, band = read(row.start, row.stop), None
            for column in columns:
                answer = self._answer(lr[..., column.start : column.stop].contiguous())
                if band is None:
                    band = answer.new_zeros(*answer.shape[:-1], self.scale * width)
                share = row.weights(height, self.scale)[:, None] * column.weights(width, self.scale)
                band[..., self.scale * column.start : self.scale * column.stop] += answer * share
                done += 1
                if on_tile:
                    on_tile(done, len(rows) * len(columns))
            assert band is not None  # an axis has at least one tile
            if begun is not None:
                band[..., : begun.shape[-2], :] += begun
            end = rows[index + 1].start if index + 1 < len(rows) else height
            finished = self.scale * (end - row.start)
            if finished:
                yield band[..., :finished, :]
            begun = band[..., finished:, :].clone()

    def _answer(self, lr: Tensor) -> Tensor:
        """(B, C', scale * h, scale * w) float32 on the CPU of (B, C, h, w), in parts where memory asks for it."""
        pixels = lr.shape[-2] * lr.shape[-1]
        if pixels < self.most:
            try:
                return self.predict(lr).float().cpu()
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
                self.most = pixels
            let_go(lr.device)  # out of the except clause: the fault's trace held what was computed
        return self._in_parts(lr)

    def _in_parts(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        longer = max(height, width)
        tile = longer // 2 // self.multiple * self.multiple
        if (
            tile < 1
            or max(span.stop - span.start for span in spans(longer, tile, self.overlap, self.multiple)) == longer
        ):
            raise UserError(
                f'there is not enough memory for a tile of {width}x{height} pixels; free some, or choose another '
                'device, float16 or a smaller network'
            )
        parts = Tiler(self._answer, self.scale, tile=tile, overlap=self.overlap, multiple=self.multiple)
        return torch.cat(list(parts.rows(lambda top, bottom: lr[..., top:bottom, :], height, width)), dim=-2)


@torch.no_grad()
def tiled(predict: Predict, lr: Tensor, *, scale: int, tile: int, overlap: int, multiple: int = 1) -> Tensor:
    """Enlarge a picture that is there as a whole, tile by tile; arguments as for `Tiler`.

    Args:
        lr (Tensor): (B, C, h, w), on the network's device.

    Returns:
        Tensor: (B, C, scale * h, scale * w), float32 on the CPU if there are several tiles.
    """
    height, width = lr.shape[-2:]
    tiler = Tiler(predict, scale, tile=tile, overlap=overlap, multiple=multiple)
    if all(len(axis) == 1 for axis in tiler.cut(height, width)):
        return predict(lr)
    return torch.cat(list(tiler.rows(lambda top, bottom: lr[..., top:bottom, :], height, width)), dim=-2)


def window_multiple(net: nn.Module) -> int:
    """The least common multiple of a network's windows (`net.options['window_sizes']`), 1 where it has none."""
    return math.lcm(*getattr(net, 'options', {}).get('window_sizes', [1]))
