"""SSTReal in tiles: each tile gets its part of the padded image, its bicubic enlargement and the noise."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.archs import SSTReal
from sst.archs.sstreal_arch import checked_guidance
from sst.archs.sstreal_start import MULTIPLE, REACH, SCALE, SIGMA, NoiseRows, checked_seed, draw_noise, start
from sst.inference.ensemble import self_ensemble
from sst.inference.spans import Span
from sst.inference.tiles import Tiler, window_multiple
from sst.ops.windows import reflected_index


class OneStepTiler(Tiler):
    """`Tiler` for SSTReal. An image in one tile becomes what `SSTReal.enlarge` makes of it.

    The LR image and the 16 pixels of each of its pixels in the noisy enlarged image are the channels of one map, so
    that tiles are cut from it as from any image.

    Args:
        net (SSTReal): in evaluation mode, on its device.
        guidance (float | None): 0 to 10. None: that of the network's options.
        seed (int): of the noise of every image.
        ensemble (bool): take the mean over the eight flips and turns. The noise is turned with the image.
        tile, overlap: as for `Tiler`.

    Raises:
        ValueError: the guidance or the seed is out of range.
    """

    def __init__(
        self,
        net: SSTReal,
        *,
        guidance: float | None = None,
        seed: int = 0,
        ensemble: bool = False,
        tile: int | Callable[[int, int], int | None] | None = None,
        overlap: int = 32,
    ) -> None:
        self.net, self.seed = net, checked_seed(seed)
        self.guidance = None if guidance is None else checked_guidance(guidance)
        predict = self._mean_of_eight if ensemble else self._restored
        super().__init__(predict, SCALE, tile=tile, overlap=overlap, multiple=one_step_multiple(net))

    def cut(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        """The tiles of the padded image along both axes."""
        return super().cut(_padded(height), _padded(width))

    @torch.no_grad()
    def rows(
        self,
        read: Callable[[int, int], Tensor],
        height: int,
        width: int,
        on_tile: Callable[[int, int], None] | None = None,
    ) -> Iterator[Tensor]:
        """As `Tiler.rows`. `read` may be asked for the same rows several times. The values are in [0, 1]."""
        noise = NoiseRows(_padded(height), _padded(width), self.seed)
        down, across = (reflected_index(side, _padded(side)) for side in (height, width))

        def maps(top: int, bottom: int) -> Tensor:
            first, last = max(top - REACH, 0), min(bottom + REACH, len(down))
            shown = down[first:last]
            least = int(shown.min())
            lr = read(least, int(shown.max()) + 1).float().cpu()
            lq = 2 * lr[..., shown - least, :][..., across] - 1
            own = slice(top - first, bottom - first)
            x = start(lq)[..., SCALE * own.start : SCALE * own.stop, :] + SIGMA * noise.rows(top, bottom)
            return torch.cat((lq[..., own, :], F.pixel_unshuffle(x, SCALE)), dim=1)  # (B, 3 + 48, rows, width)

        missing = SCALE * height
        for band in super().rows(maps, _padded(height), _padded(width), on_tile):
            if wanted := min(missing, band.shape[-2]):
                yield band[..., :wanted, : SCALE * width].clamp(0, 1)
            missing -= wanted

    def _restored(self, maps: Tensor) -> Tensor:
        """(B, 51, h, w) to RGB around [0, 1], (B, 3, 4h, 4w)."""
        return self._denoised(F.pixel_shuffle(maps[:, 3:], SCALE), maps[:, :3])

    def _mean_of_eight(self, maps: Tensor) -> Tensor:
        x, lq = F.pixel_shuffle(maps[:, 3:], SCALE), F.interpolate(maps[:, :3], scale_factor=SCALE)
        both = torch.cat((x, lq), dim=1)  # (B, 6, 4h, 4w), which is turned as a whole
        return self_ensemble(lambda turned: self._denoised(turned[:, :3], turned[:, 3:, ::SCALE, ::SCALE]), both)

    def _denoised(self, x: Tensor, lq: Tensor) -> Tensor:
        device = self.net.stem.weight.device
        return (self.net(x.to(device), SIGMA, lq.to(device), self.guidance) + 1) / 2


class OneStep(nn.Module):
    """SSTReal as a network from LR to SR, both RGB in [0, 1], for code that takes any network; with gradients.

    Args:
        net (SSTReal): in evaluation mode.
        seed (int): of the noise of every image.
    """

    def __init__(self, net: SSTReal, seed: int = 0) -> None:
        super().__init__()
        self.net, self.seed = net, checked_seed(seed)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, 4H, 4W)."""
        return self.net.one_step(lr, draw_noise(_padded(lr.shape[-2]), _padded(lr.shape[-1]), self.seed))


def one_step_predictor(net: SSTReal, val: Mapping[str, Any], seed: int) -> Callable[[Tensor], Tensor]:
    """Apply SSTReal as the section `val` of an option file says; see `build_predictor`."""
    ensemble, overlap = bool(val.get('self_ensemble')), val.get('tile_overlap', 32)
    tiler = OneStepTiler(net, seed=seed, ensemble=ensemble, tile=val.get('tile'), overlap=overlap)

    def predict(lr: Tensor) -> Tensor:
        rows = tiler.rows(lambda top, bottom: lr[..., top:bottom, :], lr.shape[-2], lr.shape[-1])
        return torch.cat(list(rows), dim=-2)

    return predict


def one_step_multiple(net: SSTReal) -> int:
    """What tiles begin at multiples of."""
    return math.lcm(MULTIPLE, window_multiple(net))


def _padded(side: int) -> int:
    return math.ceil(side / MULTIPLE) * MULTIPLE
