"""Images in tiles, so that memory depends on the size of a tile and not on that of the image."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sst.inference.memory import empty_cache, is_out_of_memory
from sst.inference.spans import Span, spans
from sst.utils.errors import UserError

Predict = Callable[[Tensor], Tensor]


class Tiler:
    """Applies a network to images of any size, tile by tile, and yields rows as soon as they are finished.

    For an image that fits one tile the result is that of the network. Otherwise it is exact if the network sees no
    further than `overlap` / 2, and close if not, because tiles fade into each other. A tile for which there is not
    enough memory is cut in two, and so are all later tiles of its size.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C', scale * h, scale * w), for any h and w.
        scale (int): scale of the network.
        tile: LR pixels a side that a tile is responsible for; None: the whole image; or a function that gives this for
            an image of (height, width) LR pixels.
        overlap (int): LR pixels that a tile reads beyond its border.
        multiple (int): tiles begin at multiples of it; see `window_multiple`.
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
        self.most = math.inf  # tiles of fewer LR pixels fit into memory, as far as is known

    def cut(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The tiles of an image along both axes."""
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
        """Enlarge an image from top to bottom.

        Args:
            read (Callable): returns the LR rows from `top` to before `bottom`, (B, C, rows, width).
            height, width: size of the image in LR pixels.
            on_tile (Callable): called with the number of finished tiles and of all tiles.

        Yields:
            Tensor: (B, C', rows, scale * width) float32 on the CPU.

        Raises:
            UserError: there is not enough memory for any tile.
        """
        rows, columns = self.cut(height, width)
        begun: Tensor | None = None  # the part of the tiles above that lies in the next row of tiles
        done = 0
        for index, row in enumerate(rows):
            lr, band = read(row.start, row.stop), None
            for column in columns:
                sr = self._predict(lr[..., column.start : column.stop].contiguous())
                if band is None:
                    band = sr.new_zeros(*sr.shape[:-1], self.scale * width)
                weights = row.weights(height, self.scale)[:, None] * column.weights(width, self.scale)
                band[..., self.scale * column.start : self.scale * column.stop] += sr * weights
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

    def _predict(self, lr: Tensor) -> Tensor:
        """The SR tile (B, C', scale * h, scale * w), float32 on the CPU, in parts if memory is short."""
        pixels = lr.shape[-2] * lr.shape[-1]
        if pixels < self.most:
            try:
                return self.predict(lr).float().cpu()
            except (RuntimeError, MemoryError) as fault:
                if not is_out_of_memory(fault):
                    raise
                self.most = pixels
            empty_cache(lr.device)  # after the except clause, because the traceback holds tensors
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
        parts = Tiler(self._predict, self.scale, tile=tile, overlap=self.overlap, multiple=self.multiple)
        return torch.cat(list(parts.rows(lambda top, bottom: lr[..., top:bottom, :], height, width)), dim=-2)


@torch.no_grad()
def tiled(predict: Predict, lr: Tensor, *, scale: int, tile: int, overlap: int, multiple: int = 1) -> Tensor:
    """Enlarge an image tile by tile; arguments as for `Tiler`.

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
    """What tiles should begin at multiples of: the least common multiple of the windows of a network of ours, the
    `multiple` of others.

    1 for a network that has none.
    """
    windows = getattr(net, 'windows', ())
    return math.lcm(*windows) if windows else getattr(net, 'multiple', 1)
