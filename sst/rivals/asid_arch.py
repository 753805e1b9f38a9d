"""ASID-D8: attention maps that the first of eight groups computes and the others use again."""

from typing import Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.ops.windows import merge, partition
from sst.rivals.parts import relative_index, strided, unstrided

SMALLEST = 16  # pixels that the strided convolution and the pooling of a gate need
SIZES = {'ASID-D8': {'num_feat': 48, 'res_num': 8, 'bias': True, 'window_size': 8, 'block_num': 1, 'pe': True}}


@ARCH_REGISTRY.register()
class ASIDd8(nn.Module):
    """ASID, efficient attention-sharing information distillation for super-resolution, with eight groups.

    With f = input(image): y = up(f + output(groups(f))). The image is extended by zeros at the bottom and right to
    multiples of `window_size`, and to 16 pixels at least.

    Args:
        num_feat (int): channels of the maps, a multiple of 4 from 8 on; a quarter is set aside at each step of a block.
        res_num (int): groups.
        upsampling (int): the scale.
        bias (bool): True, the published value.
        window_size (int): side of a window, and pixels along each side of a grid.
        block_num (int): 1, the published value.
        pe (bool): True, the published value: the first group has positional biases.

    Raises:
        ValueError: arguments that are not served or do not fit together.
    """

    pads_itself = True  # images of any size

    def __init__(
        self,
        num_feat: int = 48,
        res_num: int = 8,
        upsampling: int = 2,
        bias: Literal[True] = True,
        window_size: int = 8,
        block_num: Literal[1] = 1,
        pe: Literal[True] = True,
    ) -> None:
        super().__init__()
        if num_feat % 4 or num_feat < 8:
            raise ValueError(f'num_feat must be a multiple of 4, and 8 or more, not {num_feat}')
        for name, given, served in (('bias', bias, True), ('block_num', block_num, 1), ('pe', pe, True)):
            if given != served:
                raise ValueError(f'{name} must be {served}, not {given}')
        self.scale, self.window = upsampling, window_size
        self.input = Conv2d(3, num_feat, 3)
        self.groups = [f'block{i}' for i in range(res_num)]
        for i, name in enumerate(self.groups):
            self.add_module(name, Group(num_feat, window_size, first=i == 0))
        self.output = Conv2d(num_feat, num_feat, 3)
        self.up = nn.Sequential(nn.Conv2d(num_feat, 3 * upsampling**2, 3, padding=1), nn.PixelShuffle(upsampling))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W)."""
        height, width = image.shape[-2:]
        bottom, right = (-max(size, SMALLEST) % self.window + max(SMALLEST - size, 0) for size in (height, width))
        first = x = self.input(F.pad(image, (0, right, 0, bottom)).permute(0, 2, 3, 1))
        maps: list[Tensor] = []
        for name in self.groups:
            x = self.get_submodule(name)(x, maps)
        y = self.up((self.output(x) + first).permute(0, 3, 1, 2))
        return y[..., : self.scale * height, : self.scale * width]


class Group(nn.Module):
    """ESA(x + res_end(block(x))); the first group's block is in a list, as published."""

    def __init__(self, dim: int, window: int, *, first: bool) -> None:
        super().__init__()
        block = Block(dim, window, computes_maps=first)
        self.residual_layer = nn.ModuleList([block]) if first else block
        self.res_end = Conv2d(dim, dim, 1)
        self.esa = ESA(dim)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """Put six attention maps into an empty list, or use those that it holds."""
        block = self.residual_layer[0] if isinstance(self.residual_layer, nn.ModuleList) else self.residual_layer
        return self.esa(x + self.res_end(block(x, maps)))


class Block(nn.Module):
    """Three steps of local mixing and attention, each on fewer channels, then channel attention.

    At each step a quarter of the channels passes the attention by, and before the next one another quarter is kept.
    """

    def __init__(self, dim: int, window: int, *, computes_maps: bool) -> None:
        super().__init__()
        self.quarter = dim // 4
        for step, width in enumerate((dim, 3 * self.quarter, 2 * self.quarter)):
            inner = width - self.quarter
            self.add_module(f'LB{step + 1}', LocalBlock(width))
            for i, kind in enumerate(('SLA', 'SGA')):
                place = None if computes_maps else 2 * step + i
                self.add_module(f'{kind}{step + 1}', SpatialLayer(inner, window, grid=kind == 'SGA', place=place))
            outputs = width if step < 2 else dim
            self.add_module(f'pw{step + 1}', Conv2d(outputs, outputs, 1))
        self.BlockC = ChannelBlock(dim, window)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        kept: list[Tensor] = []
        for step in (1, 2, 3):
            local, attend, attend_grid, project = (
                getattr(self, f'{name}{step}') for name in ('LB', 'SLA', 'SGA', 'pw')
            )
            beside, x = self.split(local(x))
            x = attend_grid(attend(x, maps), maps)
            x = project(torch.cat((*(kept if step == 3 else ()), x, beside), dim=-1))
            if step < 3:
                first, x = self.split(x)
                kept.append(first)
        return self.BlockC(x)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A quarter of the block's channels, and the rest of these."""
        return x[..., : self.quarter], x[..., self.quarter :]


class LocalBlock(nn.Module):
    """x + conv1x1(gate(GELU(DW(GELU(conv1x1(x)))))), with the published keys `net.fn`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers = Conv2d(dim, dim, 1), nn.GELU(), Conv2d(dim, dim, 3, groups=dim), nn.GELU(), Gate(dim)
        self.net = nn.ModuleDict({'fn': nn.Sequential(*layers, Conv2d(dim, dim, 1))})

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net['fn'](x)


class Gate(nn.Module):
    """x times sigmoid(W SiLU(V mean(x))), the mean over the image."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = dim // 4
        self.gate = nn.Sequential(
            nn.Identity(),
            nn.Linear(dim, hidden, bias=False),
            nn.SiLU(),
            nn.Linear(hidden, dim, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean(dim=(1, 2), keepdim=True))


class SpatialLayer(nn.Module):
    """x = x + attention(LN x) in windows or grids, then x = x + GFN(LN x).

    Args:
        dim (int): channels.
        window (int): side of a window; a grid has as many pixels along a side, spread evenly over the map.
        grid (bool): attend in grids.
        place (int | None): place of the attention map to be used; None: compute one.
    """

    def __init__(self, dim: int, window: int, *, grid: bool, place: int | None) -> None:
        super().__init__()
        self.window, self.grid, self.place = window, grid, place
        self.norm = nn.LayerNorm(dim)
        self.attn = Attention(dim, window) if place is None else SharedAttention(dim)
        self.cnorm = nn.LayerNorm(dim, eps=1e-6)
        self.gfn = GFN(dim)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        w, (height, width) = self.window, x.shape[1:3]
        tokens = strided(self.norm(x), w, w) if self.grid else partition(self.norm(x), w)
        tokens = self.attn(tokens, maps) if self.place is None else self.attn(tokens, maps[self.place])
        x = x + (unstrided(tokens, w, w, height, width) if self.grid else merge(tokens, w, height, width))
        return x + self.gfn(self.cnorm(x))


class SharedAttention(nn.Module):
    """out(A v) with an attention map A (M, N, N) that another layer computed."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim, bias=False))

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        return self.to_out(attention @ self.to_v(x))


class Attention(nn.Module):
    """out(A v) with A = softmax(q k^T / sqrt(C) + bias), which it appends to `maps`.

    A is built because seven groups use it again: for H x W pixels and a window of 8, 64 H W elements each.
    """

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.rel_pos_bias = nn.Embedding((2 * window - 1) ** 2, 1)
        self.to_out = nn.Sequential(nn.Linear(dim, dim, bias=False))

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        q, k, v = self.to_qkv(x).chunk(3, dim=-1)
        bias = self.rel_pos_bias.weight[relative_index(self.window, x.device), 0]  # (N, N)
        maps.append((q * q.shape[-1] ** -0.5 @ k.transpose(1, 2) + bias).softmax(dim=-1))
        return self.to_out(maps[-1] @ v)


class Projection(Conv2d):
    """A convolution without bias on maps (B, H, W, C)."""

    def __init__(self, dim: int, outputs: int, kernel_size: int = 1, groups: int = 1) -> None:
        super().__init__(dim, outputs, kernel_size, groups)
        self.register_parameter('bias', None)


class GFN(nn.Module):
    """project_out(GELU(u) * v) with u, v = halves of DW(project_in(x))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project_in = Projection(dim, 2 * dim)
        self.dwconv = Projection(2 * dim, 2 * dim, 3, groups=2 * dim)
        self.project_out = Projection(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.dwconv(self.project_in(x)).chunk(2, dim=-1)
        return self.project_out(F.gelu(u) * v)


class ChannelBlock(nn.Module):
    """Channel attention in windows and a GFN, then channel attention in grids and a GFN, each with a residual."""

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        for i, grid in ((1, False), (2, True)):
            self.add_module(f'canorm{i}', nn.LayerNorm(dim, eps=1e-6))
            self.add_module(f'cttn{i}', ChannelAttention(dim, window, grid=grid))
            self.add_module(f'cnorm{i}', nn.LayerNorm(dim, eps=1e-6))
            self.add_module(f'gfn{i}', GFN(dim))

    def forward(self, x: Tensor) -> Tensor:
        for i in (1, 2):
            x = x + getattr(self, f'cttn{i}')(getattr(self, f'canorm{i}')(x))
            x = x + getattr(self, f'gfn{i}')(getattr(self, f'cnorm{i}')(x))
        return x


class ChannelAttention(nn.Module):
    """softmax(t q k^T) v over the channels; q and k are normalised over the pixels of a window or grid.

    A grid here holds the pixels of equal offset modulo `window`.
    """

    def __init__(self, dim: int, window: int, *, grid: bool) -> None:
        super().__init__()
        self.window, self.grid = window, grid
        self.temperature = nn.Parameter(torch.ones(1, 1, 1))
        self.qkv = Projection(dim, 3 * dim)
        self.qkv_dwconv = Projection(3 * dim, 3 * dim, 3, groups=3 * dim)
        self.project_out = Projection(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        w, (height, width) = self.window, x.shape[1:3]
        qkv = self.qkv_dwconv(self.qkv(x))
        if not self.grid:
            return self.project_out(merge(self.attend(partition(qkv, w)), w, height, width))
        size = height // w, width // w
        return self.project_out(unstrided(self.attend(strided(qkv, *size)), *size, height, width))

    def attend(self, qkv: Tensor) -> Tensor:
        """(M, N, 3 C) to (M, N, C)."""
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=1)  # (M, C, N)
        eps = max(1e-12, torch.finfo(q.dtype).tiny)  # 1e-12 is 0 in float16
        q, k = F.normalize(q, dim=-1, eps=eps), F.normalize(k, dim=-1, eps=eps)
        attention = q @ k.transpose(1, 2) * self.temperature
        return (attention.softmax(dim=-1) @ v).transpose(1, 2)


class ESA(nn.Module):
    """x times a gate that is computed at a sixth of the resolution."""

    def __init__(self, dim: int, hidden: int = 16) -> None:
        super().__init__()
        self.conv1 = Conv2d(dim, hidden, 1)
        self.conv_f = Conv2d(hidden, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride=2)
        self.conv3 = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.conv4 = Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        y = self.conv3(F.max_pool2d(self.conv2(first.permute(0, 3, 1, 2)), 7, stride=3))
        y = F.interpolate(y, x.shape[1:3], mode='bilinear', align_corners=False).permute(0, 2, 3, 1)
        return x * self.conv4(y + self.conv_f(first)).sigmoid()
