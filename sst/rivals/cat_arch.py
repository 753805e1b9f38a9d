"""CAT-A: attention in windows as high or as wide as the image, half of the channels each."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.rivals.parts import (
    DropPath,
    DynamicPositionBias,
    Mlp,
    cut_rectangles,
    init_weights,
    join_rectangles,
    offset_attention,
)
from sst.rivals.shell import Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'CAT-A': {
        'embed_dim': 180,
        'depth': [6] * 6,
        'num_heads': [6] * 6,
        'split_size_0': [2, 2, 2, 4, 4, 4],
        'split_size_1': [0] * 6,
        'mlp_ratio': 4.0,
        'upsampler': 'pixelshuffle',
    },
}


class AxialAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + bias of the offset) v in windows of H x w or w x W pixels of an H x W map.

    Shifted, the map is rolled by w / 2 along the short side first, and -100 stands between the two parts of the image
    that meet in the last window.
    """

    def __init__(self, dim: int, heads: int, short: int, shifted: bool, wide: bool) -> None:
        super().__init__()
        self.heads, self.short, self.axis = heads, short, 1 if wide else 2  # of the map, along the short side
        self.shift = short // 2 if shifted else 0
        self.pos = DynamicPositionBias(dim // 4, heads)

    def forward(self, qkv: Tensor) -> Tensor:
        """A map (B, H, W, 3 C) of q, k and v to (B, H, W, C)."""
        rows, columns = qkv.shape[1:3]
        sides = (self.short, columns) if self.axis == 1 else (rows, self.short)
        windows = cut_rectangles(qkv.roll(-self.shift, self.axis) if self.shift else qkv, *sides)
        q, k, v = windows.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = self._attend(q, k, v, sides, qkv.shape[self.axis] // self.short).transpose(1, 2).flatten(2)
        y = join_rectangles(y, *sides, rows, columns)
        return y.roll(self.shift, self.axis) if self.shift else y

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, sides: tuple[int, int], windows: int) -> Tensor:
        """Only the last of an image's windows needs the mask."""
        if not self.shift:
            return offset_attention(q, k, v, self.pos, sides)
        split = [x.unflatten(0, (-1, windows)).split((windows - 1, 1), dim=1) for x in (q, k, v)]
        q, k, v = (last.flatten(0, 1) for _, last in split)
        results = [offset_attention(q, k, v, self.pos, sides, self.mask(*sides, q))[:, None]]
        if windows > 1:
            q, k, v = (inner.flatten(0, 1) for inner, _ in split)
            results.insert(0, offset_attention(q, k, v, self.pos, sides).unflatten(0, (-1, windows - 1)))
        return torch.cat(results, dim=1).flatten(0, 1)

    def mask(self, height: int, width: int, like: Tensor) -> Tensor:
        """(1, 1, N, N): -100 where query and key are on different sides of the seam."""
        position = torch.arange(height * width, device=like.device)
        along = position // width if self.axis == 1 else position % width
        beyond = along >= self.short - self.shift
        return -100.0 * (beyond[:, None] != beyond).to(like.dtype)[None, None]


class Block(nn.Module):
    """x + proj(attention + DW(v)) of LN(x), then x + MLP(LN(x))."""

    def __init__(self, dim: int, heads: int, short: int, shifted: bool, ratio: float, drop: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attns = nn.ModuleList(
            [AxialAttention(dim // 2, heads // 2, short, shifted, wide) for wide in (False, True)]
        )
        self.get_v = Conv2d(dim, dim, 3, groups=dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = Mlp(dim, int(ratio * dim))
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, 2, -1))  # (B, H, W, 3, halves, C / 2)
        halves = [attend(qkv[..., i, :].flatten(-2)) for i, attend in enumerate(self.attns)]
        y = torch.cat(halves, dim=-1) + self.get_v(qkv[..., 2, :, :].flatten(-2))
        x = x + self.drop_path(self.proj(y))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Group(nn.Module):
    """t + conv(blocks(t))."""

    def __init__(self, dim: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.conv = Conv2d(dim, dim, 3)

    def forward(self, t: Tensor) -> Tensor:
        return t + self.conv(self.blocks(t))


@ARCH_REGISTRY.register()
class CAT(Shell):
    """CAT-A, the cross aggregation transformer (NeurIPS 2022), by default as published for x2.

    Images (B, 3, H, W) in [0, 1] become (B, 3, scale * H, scale * W). Their flip pads them to multiples of the largest
    split size, as the published test does.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of each of `num_heads`.
        depth (list[int]): blocks of each group; every second one has shifted windows.
        num_heads (list[int]): heads of each group, even numbers.
        split_size_0 (list[int]): short side of the windows of each group in pixels.
        split_size_1 (list[int]): 0: the long side is that of the image.
        mlp_ratio (float): linear layers are int(mlp_ratio * embed_dim) wide.
        drop_path_rate (float): how often the last block is left out while training; the others less, in steps.
        upsampler (str): `pixelshuffle` or `pixelshuffledirect`.
        in_chans (int): channels of the image.
        img_range (float): 1.0.
        resi_connection (str): `1conv`.
        block_name (str): `CATB_axial`.
        img_size (int): without effect.
    """

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 180,
        depth: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        split_size_0: Sequence[int] = (2, 2, 2, 4, 4, 4),
        split_size_1: Sequence[int] = (0, 0, 0, 0, 0, 0),
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.1,
        upsampler: Tail = 'pixelshuffle',
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        block_name: Literal['CATB_axial'] = 'CATB_axial',
        img_size: int = 64,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        for name, given in (('num_heads', num_heads), ('split_size_0', split_size_0), ('split_size_1', split_size_1)):
            if len(given) != len(depth):
                raise ValueError(f'{name} has {len(given)} entries, it needs one for each of the {len(depth)} groups')
        if wrong := [heads for heads in num_heads if heads % 2 or embed_dim % heads]:
            raise ValueError(f'num_heads is {wrong[0]}, it must be an even divisor of embed_dim, {embed_dim}')
        if any(split_size_1):
            raise ValueError(f'split_size_1 is {list(split_size_1)}, only 0 is possible')
        if wrong := [short for short in split_size_0 if short < 1 or max(split_size_0) % short]:
            raise ValueError(f'split_size_0 is {wrong[0]}, it must divide the largest, {max(split_size_0)}')
        drops = iter(torch.linspace(0, drop_path_rate, sum(depth), device='cpu').tolist())
        groups = [
            Group(
                embed_dim,
                [Block(embed_dim, heads, short, bool(j % 2), mlp_ratio, next(drops)) for j in range(blocks)],
            )
            for blocks, heads, short in zip(depth, num_heads, split_size_0, strict=True)
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans, multiple=max(split_size_0))
        del self.patch_embed
        self.before_RG = nn.Sequential(nn.Identity(), nn.LayerNorm(embed_dim))
        self.apply(init_weights)

    def first_norm(self, t: Tensor) -> Tensor:
        """The norm of the first map (B, H, W, C), under CAT's name."""
        return self.before_RG(t)
