"""ART: blocks that attend in dense windows, and blocks that attend among pixels that lie a few pixels apart."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.rivals.parts import (
    DynamicPositionBias,
    Mlp,
    cut_rectangles,
    init_weights,
    join_rectangles,
    offset_attention,
    strided,
    unstrided,
)
from sst.rivals.shell import Group, Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'ART': {
        'embed_dim': 180,
        'depths': [6] * 6,
        'num_heads': [6] * 6,
        'interval': [4] * 6,
        'window_size': 8,
        'mlp_ratio': 4.0,
        'upsampler': 'pixelshuffle',
    },
}


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d) + bias of the offset) v within groups of pixels of a zero-padded map.

    A dense group is a window of `window` x `window` pixels. A sparse group has all pixels whose coordinates agree
    modulo `interval`. Keys in the padding are left out.
    """

    def __init__(self, dim: int, heads: int, window: int, interval: int, sparse: bool) -> None:
        super().__init__()
        self.heads, self.window, self.interval, self.sparse = heads, window, interval, sparse
        self.pos = DynamicPositionBias(dim // 4, heads)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to one of the same shape."""
        batch, height, width, _ = x.shape
        sparse = self.sparse and min(height, width) > self.window
        multiple = self.interval if sparse else self.window
        down, right = -height % multiple, -width % multiple
        qkv = self.qkv(F.pad(x, (0, 0, 0, right, 0, down)))
        rows, columns = qkv.shape[1:3]
        sides = (rows // multiple, columns // multiple) if sparse else (multiple, multiple)
        cut, join = (strided, unstrided) if sparse else (cut_rectangles, join_rectangles)
        q, k, v = cut(qkv, *sides).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None
        if down or right:
            excluded = max(-1e6, torch.finfo(x.dtype).min)
            padding = F.pad(x.new_zeros(1, height, width, 1), (0, 0, 0, right, 0, down), value=excluded)
            mask = cut(padding.expand(batch, -1, -1, -1), *sides).transpose(1, 2)[:, None]  # (groups, 1, 1, N)
        y = offset_attention(q, k, v, self.pos, sides, mask).transpose(1, 2).flatten(2)
        return self.proj(join(y, sides[0], sides[1], rows, columns)[:, :height, :width])


class Block(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, dim: int, heads: int, window: int, interval: int, sparse: bool, ratio: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, window, interval, sparse)
        self.mlp = Mlp(dim, int(ratio * dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@ARCH_REGISTRY.register()
class ART(Shell):
    """ART, the attention retractable transformer (ICLR 2023), by default as published for x2.

    Images (B, 3, H, W) in [0, 1] of any size become (B, 3, scale * H, scale * W). Images of at most `window_size`
    pixels a side have dense blocks only.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of each of `num_heads`.
        depths (list[int]): blocks of each group; every second one is sparse.
        num_heads (list[int]): heads of each group.
        interval (list[int]): how many pixels apart the pixels of a sparse group are, for each group of blocks.
        window_size (int): side of a dense window in pixels.
        mlp_ratio (float): linear layers are int(mlp_ratio * embed_dim) wide.
        upsampler (str): `pixelshuffle` or `pixelshuffledirect`.
        in_chans (int): channels of the image.
        img_range (float): 1.0.
        resi_connection (str): `1conv`.
        img_size (int): without effect.
    """

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        interval: Sequence[int] = (4, 4, 4, 4, 4, 4),
        window_size: int = 8,
        mlp_ratio: float = 4.0,
        upsampler: Tail = 'pixelshuffle',
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        for name, given in (('num_heads', num_heads), ('interval', interval)):
            if len(given) != len(depths):
                raise ValueError(f'{name} has {len(given)} entries, it needs one for each of the {len(depths)} groups')
        if wrong := [heads for heads in num_heads if embed_dim % heads]:
            raise ValueError(f'embed_dim is {embed_dim}, it must be a multiple of num_heads, {wrong[0]}')
        if wrong := [step for step in interval if step < 1]:
            raise ValueError(f'interval is {wrong[0]}, it must be at least 1')
        groups = [
            Group(
                embed_dim,
                [Block(embed_dim, heads, window_size, step, bool(j % 2), mlp_ratio) for j in range(depth)],
            )
            for depth, heads, step in zip(depths, num_heads, interval, strict=True)
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans)
        self.apply(init_weights)
