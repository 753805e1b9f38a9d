"""HiT-SRF: windows that grow from block to block, with attention that is linear in their pixels and has no softmax."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.ops.windows import merge, pad_to_multiple, partition
from sst.rivals.parts import ConvFFN, DynamicPositionBias, init_weights
from sst.rivals.shell import Group, Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'HiT-SRF': {
        'embed_dim': 60,
        'depths': [6] * 4,
        'num_heads': [6] * 4,
        'base_win_size': [8, 8],
        'hier_win_ratios': [0.5, 1, 2, 4, 6, 8],
        'upsampler': 'pixelshuffledirect',
    },
}


class QueriesValues(nn.Module):
    """The product of a bottleneck of convolutions and a linear layer: both queries and values."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim // 5
        self.conv = nn.Sequential(
            Conv2d(dim, hidden, 1), nn.LeakyReLU(0.2), Conv2d(hidden, hidden, 3), nn.LeakyReLU(0.2),
            Conv2d(hidden, dim, 1),
        )  # fmt: skip
        self.linear = Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.linear(x)


class Correlation(nn.Module):
    """Spatial and channel self-correlation in windows of w x w pixels; the map is padded by reflection.

    Queries q and values v have C / 2 channels each, n = w^2 pixels. A learnt sum over cells of rho x rho pixels makes
    v' of v, with b^2 = (w / rho)^2 positions. Per head of d channels the spatial part is

        (q v'^T / d + bias) v' = q (v'^T v') / d + bias v',

    where the right side never builds an n x b^2 map per window, and the part of all channels together is
    v (v^T q) / n. The bias of a query and a cell is the mean over the cell's pixels of `pos` at query minus pixel.
    """

    def __init__(self, dim: int, heads: int, window: int, base: int) -> None:
        super().__init__()
        self.heads, self.window, self.cells = heads, window, min(window, base)
        self.cell = window // self.cells
        self.qv = QueriesValues(dim)
        self.proj = nn.Linear(dim, dim)
        self.spatial_linear = nn.Linear(self.cell**2, 1)
        self.pos = DynamicPositionBias(dim // 4, heads)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to one of the same shape."""
        _, height, width, _ = x.shape
        qv = self.qv(pad_to_multiple(x, self.window))
        q, v = partition(qv, self.window).chunk(2, dim=-1)  # (windows, n, C / 2)
        cells = self.cell_values(v)
        products = cells.mT @ cells * self._within_heads(cells) * (self.heads / cells.shape[-1])
        spatial = q @ products + self._biased(cells)
        channel = v @ (v.mT @ q / q.shape[1])
        y = self.proj(torch.cat([spatial, channel], dim=-1))
        return merge(y, self.window, *qv.shape[1:3])[:, :height, :width]

    def cell_values(self, v: Tensor) -> Tensor:
        """Values (windows, n, C / 2) to those of cells (windows, b^2, C / 2)."""
        cells = v.unflatten(1, (self.cells, self.cell, self.cells, self.cell)).permute(0, 1, 3, 5, 2, 4)
        return self.spatial_linear(cells.flatten(-2)).flatten(1, 2).squeeze(-1)

    def bias(self) -> Tensor:
        """(heads, n, b^2): the mean over a cell is a mean over a square of the table of offsets."""
        w, rho, device = self.window, self.cell, self.proj.weight.device
        table = self.pos.table(w, w).unflatten(-1, (2 * w - 1, 2 * w - 1))
        table = F.avg_pool2d(table[None], rho, stride=1)[0]  # (heads, side, side)
        side = 2 * w - rho
        offset = torch.arange(w, device=device)[:, None] - torch.arange(0, w, rho, device=device) + w - rho
        index = offset[:, None, :, None] * side + offset[None, :, None, :]  # (w, w, b, b)
        return table.flatten(1)[:, index.reshape(w * w, -1)]

    def _biased(self, cells: Tensor) -> Tensor:
        """bias v' for all windows in one product per head: (windows, n, C / 2)."""
        values = cells.unflatten(-1, (self.heads, -1)).permute(2, 1, 0, 3)  # (heads, b^2, windows, d)
        y = self.bias().to(cells.dtype) @ values.flatten(2)
        return y.unflatten(-1, values.shape[2:]).permute(2, 1, 0, 3).flatten(2)

    def _within_heads(self, cells: Tensor) -> Tensor:
        """(C / 2, C / 2): 1 where both channels belong to one head."""
        head = torch.arange(cells.shape[-1], device=cells.device) // (cells.shape[-1] // self.heads)
        return (head[:, None] == head).to(cells.dtype)


class Block(nn.Module):
    """x + LN(correlation(x)), then x + LN(FFN(x))."""

    def __init__(self, dim: int, heads: int, window: int, base: int, ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.correlation = Correlation(dim, heads, window, base)
        self.mlp = ConvFFN(dim, int(ratio * dim), 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self.correlation(x))
        return x + self.norm2(self.mlp(x))


@ARCH_REGISTRY.register()
class HiT_SRF(Shell):  # noqa: N801 - the published name
    """HiT-SRF of HiT-SR, the hierarchical transformer (ECCV 2024), by default as published for x2.

    Images (B, 3, H, W) in [0, 1] of any size become (B, 3, scale * H, scale * W).

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of twice each of `num_heads`.
        depths (list[int]): blocks of each group.
        num_heads (list[int]): heads of each group.
        base_win_size (list[int]): side of the windows at ratio 1, twice the same; also the most cells along a window.
        hier_win_ratios (list[float]): block j of a group has windows of base_win_size * hier_win_ratios[j].
        mlp_ratio (float): linear layers are int(mlp_ratio * embed_dim) wide.
        upsampler (str): `pixelshuffle` or `pixelshuffledirect`.
        in_chans (int): channels of the image.
        img_range (float): 1.0.
        resi_connection (str): `1conv`.
        img_size (int): without effect.
        expansion_factor (float): without effect, as in the published code; published options have it.
    """

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 60,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        base_win_size: Sequence[int] = (8, 8),
        hier_win_ratios: Sequence[float] = (0.5, 1, 2, 4, 6, 8),
        mlp_ratio: float = 2.0,
        upsampler: Tail = 'pixelshuffledirect',
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
        expansion_factor: float = 2.0,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        if len(depths) != len(num_heads):
            raise ValueError(f'depths has {len(depths)} groups and num_heads {len(num_heads)}, they must be as many')
        if max(depths) > len(hier_win_ratios):
            raise ValueError(
                f'depths has a group of {max(depths)} blocks and hier_win_ratios {len(hier_win_ratios)} entries, '
                'each block needs one'
            )
        if wrong := [heads for heads in num_heads if embed_dim % (2 * heads)]:
            raise ValueError(f'embed_dim is {embed_dim}, it must be a multiple of twice num_heads, 2 * {wrong[0]}')
        base, windows = base_win_size[0], window_sides(base_win_size, hier_win_ratios)
        groups = [
            Group(embed_dim, [Block(embed_dim, heads, windows[j], base, mlp_ratio) for j in range(depth)])
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans)
        self.apply(init_weights)


def window_sides(base: Sequence[int], ratios: Sequence[float]) -> list[int]:
    """The windows' sides of a group's blocks. Raises ValueError where cells would not fit."""
    if len(base) != 2 or base[0] != base[1]:
        raise ValueError(f'base_win_size is {list(base)}, it must be two equal numbers')
    sides = [int(base[0] * ratio) for ratio in ratios]
    if wrong := [side for side in sides if side < 1 or side % min(side, base[0])]:
        raise ValueError(
            f'hier_win_ratios make a window of {wrong[0]}, it must be at most base_win_size, {base[0]}, or its multiple'
        )
    return sides
