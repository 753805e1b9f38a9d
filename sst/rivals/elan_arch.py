"""ELAN: shifted 1x1 convolutions, and attention in windows of three sizes whose maps two layers share."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.ops.windows import map_windows, pad_to_multiple
from sst.rivals.shell import MEAN

SIZES = {
    'ELAN-light': {'rgb_range': 255, 'colors': 3, 'm_elan': 24, 'c_elan': 60, 'n_share': 1, 'r_expand': 2}
    | {'act_type': 'relu', 'window_sizes': [4, 8, 16]},
}


@ARCH_REGISTRY.register()
class ELAN(nn.Module):
    """Efficient long-range attention network for image super-resolution, ECCV 2022 (arXiv 2203.06697).

    With f = head(image - mean): y = tail(f + blocks(f)) + mean. A block is x = x + LFE(x), x = x + GMSA(x), several
    times; the first GMSA computes attention maps and the others use them again.

    Args:
        scale (int): 1 to 4, or more.
        rgb_range (float): the images lie in [0, rgb_range]; 255 in the published networks.
        colors (int): channels of the images; mean colours are removed where it is 3.
        m_elan (int): pairs of LFE and GMSA, a multiple of `n_share` + 1.
        c_elan (int): channels of the maps, a multiple of 5 and of the number of window sizes.
        n_share (int): how many further GMSA of a block use the maps of its first.
        r_expand (int): hidden channels of an LFE, divided by `c_elan`.
        act_type (str): activation of an LFE.
        window_sizes (list): side of a window, in pixels, for each part of the channels.

    Raises:
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        scale: int = 2,
        rgb_range: float = 255,
        colors: int = 3,
        m_elan: int = 24,
        c_elan: int = 60,
        n_share: int = 1,
        r_expand: int = 2,
        act_type: Literal['relu'] = 'relu',
        window_sizes: Sequence[int] = (4, 8, 16),
    ) -> None:
        super().__init__()
        if c_elan % 5 or c_elan % len(window_sizes):
            raise ValueError(f'c_elan must be a multiple of 5 and of {len(window_sizes)} window sizes, not {c_elan}')
        if m_elan % (n_share + 1):
            raise ValueError(f'm_elan must be a multiple of n_share + 1 ({n_share + 1}), not {m_elan}')
        if act_type != 'relu':
            raise ValueError(f"act_type must be 'relu', not {act_type!r}")
        self.scale, self.rgb_range, self.multiple = scale, rgb_range, math.lcm(*window_sizes)
        self.sub_mean = MeanShift(colors, -rgb_range)
        self.add_mean = MeanShift(colors, rgb_range)
        self.head = nn.Sequential(Conv2d(colors, c_elan, 3))
        self.body = nn.ModuleList(
            Block(c_elan, n_share + 1, r_expand, tuple(window_sizes), shifted=i % 2 == 1)
            for i in range(m_elan // (n_share + 1))
        )
        self.tail = nn.Sequential(nn.Conv2d(c_elan, colors * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, image: Tensor) -> Tensor:
        """(B, colors, H, W) in [0, rgb_range] to (B, colors, scale * H, scale * W)."""
        height, width = image.shape[-2:]
        first = x = self.head(pad_to_multiple(self.sub_mean(image).permute(0, 2, 3, 1), self.multiple))
        for block in self.body:
            x = block(x)
        y = self.add_mean(self.tail((x + first).permute(0, 3, 1, 2)))
        return y[..., : self.scale * height, : self.scale * width]


class MeanShift(nn.Conv2d):
    """Adds `amount` times the mean colour of DIV2K to images (B, 3, H, W); stored as a frozen 1x1 convolution."""

    def __init__(self, colors: int, amount: float) -> None:
        super().__init__(colors, colors, 1)
        mean = torch.tensor(MEAN if colors == 3 else (0.0,) * colors)
        self.weight = nn.Parameter(torch.eye(colors).view(colors, colors, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(amount * mean, requires_grad=False)


class Block(nn.Module):
    """Pairs of LFE and GMSA that share the attention maps of the first."""

    def __init__(self, dim: int, pairs: int, expansion: int, windows: tuple[int, ...], shifted: bool) -> None:
        super().__init__()
        self.modules_lfe = nn.ModuleDict({f'lfe_{i}': LFE(dim, dim * expansion) for i in range(pairs)})
        self.modules_gmsa = nn.ModuleDict(
            {f'gmsa_{i}': GMSA(dim, windows, shifted, computes_maps=i == 0) for i in range(pairs)}
        )

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for lfe, gmsa in zip(self.modules_lfe.values(), self.modules_gmsa.values(), strict=True):
            x = x + lfe(x)
            x = x + gmsa(x, maps)
        return x


class LFE(nn.Module):
    """conv1(ReLU(conv0(x))) with shifted convolutions."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.conv0 = ShiftedConv(dim, hidden)
        self.conv1 = ShiftedConv(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.conv0(x).relu())


class ShiftedConv(nn.Module):
    """A 1x1 convolution of a shifted map, with the published key `shift_conv`."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.shift_conv = Shift(dim)
        self.shift_conv.add_module('conv1x1', Conv2d(dim, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.shift_conv.conv1x1(self.shift_conv(x))


class Shift(Conv2d):
    """Each fifth of the channels shows its right, left, lower or upper neighbour or itself, 0 beyond the edge.

    The shift is stored as a frozen depthwise kernel.
    """

    conv1x1: nn.Module

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 3, groups=dim)
        weight = torch.zeros(5, dim // 5, 1, 3, 3)
        for part, (y, x) in zip(weight, ((1, 2), (1, 0), (2, 1), (0, 1), (1, 1)), strict=True):
            part[..., y, x] = 1
        self.weight = nn.Parameter(weight.flatten(0, 1), requires_grad=False)
        self.register_parameter('bias', None)


class BatchNorm(nn.BatchNorm2d):
    """Normalisation over the batch on maps (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class GMSA(nn.Module):
    """softmax(q q^T) v in windows of another size for each part of the channels, without scale, bias and mask.

    The maps of one image of H x W pixels have H * W * (sum of window sides squared) elements; they are built because
    the next layers use them again.
    """

    def __init__(self, dim: int, windows: tuple[int, ...], shifted: bool, *, computes_maps: bool) -> None:
        super().__init__()
        self.windows, self.shifted, self.computes_maps = windows, shifted, computes_maps
        inner = 2 * dim if computes_maps else dim  # q and v, or v alone
        self.project_inp = nn.Sequential(Conv2d(dim, inner, 1), BatchNorm(inner))
        self.project_out = Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """Put attention maps, one for each part, into an empty list, or use those that it holds."""
        parts = self.project_inp(x).chunk(len(self.windows), dim=-1)
        return self.project_out(torch.cat([self.attend(i, part, maps) for i, part in enumerate(parts)], dim=-1))

    def attend(self, i: int, part: Tensor, maps: list[Tensor]) -> Tensor:
        """The i-th part, (B, H, W, q and v) or (B, H, W, v), to (B, H, W, v)."""

        def attend(windows: Tensor) -> Tensor:
            if not self.computes_maps:
                return maps[i] @ windows
            q, v = windows.chunk(2, dim=-1)
            maps.append((q @ q.transpose(1, 2)).softmax(dim=-1))  # (M, N, N)
            return maps[i] @ v

        return map_windows(attend, part, self.windows[i], self.windows[i] // 2 if self.shifted else 0)
