"""MambaIR: residual groups whose blocks scan the image in four directions with a state space model."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.rivals.parts import ChannelAttention, DropPath, init_weights
from sst.rivals.scan import SelectiveScan
from sst.rivals.shell import Group, Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'MambaIR': {'embed_dim': 180, 'depths': [6] * 6, 'd_state': 16, 'mlp_ratio': 2.0, 'upsampler': 'pixelshuffle'},
    'MambaIR-light': {
        'embed_dim': 60,
        'depths': [6] * 4,
        'd_state': 10,
        'mlp_ratio': 1.2,
        'upsampler': 'pixelshuffledirect',
    },
}


class DilatedDepthwise(nn.Conv2d):
    """A depthwise 3x3 convolution with dilation 2 on a map (B, H, W, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 3, padding=2, dilation=2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvBlock(nn.Module):
    """Convolutions and attention over channels, under the published name `cab`; `light` ones are depthwise."""

    def __init__(self, dim: int, light: bool) -> None:
        super().__init__()
        attention = ChannelAttention(dim, dim // 30)
        if light:
            hidden = dim // 2
            self.cab = nn.Sequential(
                Conv2d(dim, hidden, 1),
                Conv2d(hidden, hidden, 3, groups=hidden),
                nn.GELU(),
                Conv2d(hidden, dim, 1),
                DilatedDepthwise(dim),
                attention,
            )
        else:
            self.cab = nn.Sequential(Conv2d(dim, dim // 3, 3), nn.GELU(), Conv2d(dim // 3, dim, 3), attention)

    def forward(self, x: Tensor) -> Tensor:
        return self.cab(x)


def four_ways(x: Tensor) -> Tensor:
    """A map (B, H, W, E) as sequences (B, 4, H W, E): row by row, column by column, and both in reverse."""
    forth = torch.stack((x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)), dim=1)
    return torch.cat((forth, forth.flip(2)), dim=1)


def joined(y: Tensor, height: int, width: int) -> Tensor:
    """The sum of the four sequences of `four_ways`, as a map (B, height, width, E)."""
    rows, columns = (y[:, :2] + y[:, 2:].flip(2)).unbind(1)
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


class FourWayScan(SelectiveScan):
    """The image row by row, column by column, and both in reverse, each with its own scan; their sum, gated.

    (x, z) = W x; x = SiLU(DW3x3(x)); W_out (LN(sum of four scans of x) * SiLU(z)).
    """

    def __init__(self, dim: int, hidden: int, states: int) -> None:
        super().__init__(4, hidden, states, math.ceil(dim / 16))
        self.in_proj = nn.Linear(dim, 2 * hidden, bias=False)
        self.conv2d = Conv2d(hidden, hidden, 3, groups=hidden)
        self.out_norm = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to one of the same shape."""
        _, height, width, _ = x.shape
        x, z = self.in_proj(x).chunk(2, dim=-1)
        y = joined(self.scan(four_ways(F.silu(self.conv2d(x)))), height, width)
        return self.out_proj(self.out_norm(y) * F.silu(z))


class Block(nn.Module):
    """x = skip_scale * x + scan(LN(x)); x = skip_scale2 * x + conv(LN(x))."""

    def __init__(self, dim: int, hidden: int, states: int, light: bool, drop_path: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim)
        self.self_attention = FourWayScan(dim, hidden, states)
        self.drop_path = DropPath(drop_path)
        self.skip_scale = nn.Parameter(torch.ones(dim))
        self.conv_blk = ConvBlock(dim, light)
        self.ln_2 = nn.LayerNorm(dim)
        self.skip_scale2 = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.skip_scale + self.drop_path(self.self_attention(self.ln_1(x)))
        return x * self.skip_scale2 + self.conv_blk(self.ln_2(x))


@ARCH_REGISTRY.register()
class MambaIR(Shell):
    """MambaIR (ECCV 2024). It takes images (B, 3, H, W) of any size in [0, 1] and gives (B, 3, scale * H, scale * W).

    For a result of 1280x720 at x2, the four scans of a layer take 1.24 GiB for each of their input, step sizes and
    result (360 channels, float32). The states beside them take 45 MiB in the plain form and 158 MiB in the kernel.
    A layer's peak on a CPU is 7.2 GiB, and 1.5 GiB for the light network.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, at least 30, with which the attention over channels has one.
        depths (list[int]): blocks of each group.
        d_state (int): states of each channel of a scan.
        mlp_ratio (float): a scan has int(mlp_ratio * embed_dim) channels.
        upsampler (str): `pixelshuffle`, or `pixelshuffledirect`, which also makes the convolutions depthwise.
        drop_path_rate (float): how often the last block's scan is left out in training; 0 for the first one's.
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
        d_state: int = 16,
        mlp_ratio: float = 2.0,
        upsampler: Tail = 'pixelshuffle',
        drop_path_rate: float = 0.1,
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        if embed_dim < 30:
            raise ValueError(f'embed_dim is {embed_dim}, it must be at least 30')
        hidden, light = int(mlp_ratio * embed_dim), upsampler == 'pixelshuffledirect'
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        groups = [
            Group(embed_dim, [Block(embed_dim, hidden, d_state, light, next(rates)) for _ in range(depth)])
            for depth in depths
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans)
        self.apply(init_weights)
