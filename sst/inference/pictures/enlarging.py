"""Pictures of the world through a network of three channels: grey, transparency, and no halos."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sst.inference.pictures.picture import Bands, Picture, as_floats, rgb_of
from sst.inference.tiles import Tiler
from sst.ops.imresize import imresize_rows
from sst.utils.errors import UserError

_INVISIBLE = 0.5 / 255  # alpha that 8 bits round to nothing


def enlarge(
    picture: Picture,
    tiler: Tiler,
    size: tuple[int, int] | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> Picture:
    """Enlarge a picture; the result keeps what its file said, and is computed while its `bands` are taken.

    The network sees no colours that nobody could: those of transparent areas become the nearest visible ones, so that
    nothing bleeds into the picture. Grey goes through as three equal channels, whose mean is taken.

    Transparency is enlarged by bicubic interpolation. It is a mask, not a photograph: a network trained on photographs
    has nothing to find in it but texture that is not there, and would take as long again; what is wholly opaque or
    transparent stays so, and since colours reach beyond every edge, an edge of the mask cuts through colour alone.

    Args:
        picture: of any kind.
        tiler: the network, applied to float32 RGB in [0, 1], (1, 3, H, W) on the CPU.
        size: (height, width) of the result, pixels: what the network gives is resized to it by MATLAB's `imresize`.
            None: what the network gives.
        on_tile: told of tiles done and all tiles.

    Raises, while its bands are taken:
        UserError: the network's values are no numbers; memory suffices for no tile.
    """
    return replace(picture, samples=_Enlarged(picture, tiler, size, on_tile))


class _Enlarged(Bands):
    def __init__(
        self,
        picture: Picture,
        tiler: Tiler,
        size: tuple[int, int] | None,
        on_tile: Callable[[int, int], None] | None,
    ) -> None:
        height, width, channels = picture.shape
        self.picture, self.tiler, self.on_tile = picture, tiler, on_tile
        self.plain = (tiler.scale * height, tiler.scale * width)  # what the network gives
        self.shape = (*(size or self.plain), channels)

    def __iter__(self) -> Iterator[np.ndarray]:
        colours, size = self._colours(), self.shape[:2]
        if size != self.plain:
            colours = imresize_rows(colours, self.plain, size)
        alpha = self._alpha() if self.picture.has_alpha else None
        for band in colours:
            parts = [band] if alpha is None else [band, alpha.take(len(band))]
            yield np.concatenate(parts, axis=2).clip(0, 1)

    def _colours(self) -> Iterator[np.ndarray]:
        """(rows, W, 1 or 3) from the network."""
        height, width, _ = self.picture.shape
        samples = self._filled()

        def read(top: int, bottom: int) -> Tensor:
            rgb = np.ascontiguousarray(rgb_of(as_floats(samples[top:bottom])).transpose(2, 0, 1))
            return torch.from_numpy(rgb)[None]

        for rows in self.tiler.rows(read, height, width, self.on_tile):
            if not rows.isfinite().all():
                raise UserError(
                    'the network gives values that are no numbers; run it in float32, or with other weights'
                )
            band = rows[0].permute(1, 2, 0).clamp(0, 1)
            yield (band.mean(dim=2, keepdim=True) if self.picture.grey else band).contiguous().numpy()

    def _filled(self) -> np.ndarray:
        """The picture's samples, (H, W, C), with the nearest visible colour in place of each that nobody sees."""
        samples = self.picture.samples
        if isinstance(samples, Bands):
            samples = self.picture.whole()
        if not self.picture.has_alpha:
            return samples
        invisible = as_floats(samples[..., -1]) < _INVISIBLE
        if not invisible.any() or invisible.all():
            return samples
        rows, columns = distance_transform_edt(invisible, return_distances=False, return_indices=True)
        return samples[rows, columns]

    def _alpha(self) -> '_Rows':
        alphas = (band[..., -1:] for band in self.picture.bands())
        return _Rows(imresize_rows(alphas, self.picture.shape[:2], self.shape[:2]))


class _Rows:
    """Bands of rows that are taken by number."""

    def __init__(self, bands: Iterator[np.ndarray]) -> None:
        self.bands, self.held = bands, next(bands)

    def take(self, count: int) -> np.ndarray:
        """The next `count` rows."""
        while len(self.held) < count:
            self.held = np.concatenate([self.held, next(self.bands)])
        taken, self.held = self.held[:count], self.held[count:]
        return taken
