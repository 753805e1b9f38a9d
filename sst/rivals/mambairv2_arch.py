"""MambaIRv2: layers with attention in windows, then one scan through the pixels in the order of their classes."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.ops.windows import merge, partition
from sst.rivals.parts import ConvFFN, init_weights, relative_index, shift_mask
from sst.rivals.scan import SelectiveScan
from sst.rivals.shell import Group, Shell, Tail

_COMMON = {'d_state': 16, 'inner_rank': 64, 'num_tokens': 128, 'mlp_ratio': 2.0, 'upsampler': 'pixelshuffle'}
SIZES: dict[str, dict[str, Any]] = {
    'MambaIRv2-S': {**_COMMON, 'embed_dim': 132, 'depths': [4] * 6, 'num_heads': [4] * 6},
    'MambaIRv2-B': {**_COMMON, 'embed_dim': 174, 'depths': [6] * 6, 'num_heads': [6] * 6},
    'MambaIRv2-L': {**_COMMON, 'embed_dim': 174, 'depths': [6] * 9, 'num_heads': [6] * 9},
    'MambaIRv2-light': {
        'embed_dim': 48,
        'depths': [5] * 4,
        'num_heads': [4] * 4,
        'd_state': 8,
        'inner_rank': 32,
        'num_tokens': 64,
        'mlp_ratio': 1.0,
        'upsampler': 'pixelshuffledirect',
    },
}


class WindowAttention(nn.Module):
    """softmax(q k / sqrt(d) + bias of the offset) v in windows of a map that is rolled by half a window."""

    def __init__(self, dim: int, window: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.heads, self.shift = window, heads, window // 2 if shifted else 0
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, qkv: Tensor, index: Tensor, masks: Tensor) -> Tensor:
        """qkv (B, H, W, 3C), the index (N, N) of `relative_index` and the masks (4, N, N) of two by two windows."""
        _, height, width, _ = qkv.shape
        if self.shift:
            qkv = qkv.roll((-self.shift, -self.shift), dims=(1, 2))
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)  # (heads, N, N)
        windows = partition(qkv, self.window).unflatten(0, (-1, height // self.window, width // self.window))
        x = self._attend_by_mask(windows, bias, masks) if self.shift else self._attend(windows, bias)
        x = merge(self.proj(x).flatten(0, 2), self.window, height, width)
        return x.roll((self.shift, self.shift), dims=(1, 2)) if self.shift else x

    def _attend_by_mask(self, windows: Tensor, bias: Tensor, masks: Tensor) -> Tensor:
        """Of a rolled map, only the last row and the last column of windows hold pixels of different parts."""
        inner, right, below, corner = (bias + mask for mask in masks.to(bias.dtype))
        rows = []
        for row, here, at_end in ((windows[:, :-1], inner, right), (windows[:, -1:], below, corner)):
            if row.shape[1]:
                parts = [(part, b) for part, b in ((row[:, :, :-1], here), (row[:, :, -1:], at_end)) if part.shape[2]]
                rows.append(torch.cat([self._attend(part, b) for part, b in parts], dim=2))
        return torch.cat(rows, dim=1)

    def _attend(self, windows: Tensor, bias: Tensor) -> Tensor:
        """(B, rows, columns, N, 3C) to (B, rows, columns, N, C)."""
        qkv = windows.flatten(0, 2).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (windows, heads, N, d)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None])
        return x.transpose(1, 2).flatten(2).unflatten(0, windows.shape[:3])


class SpatialGate(nn.Module):
    """The first half of the channels times DW5x5(LN(the second half))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = Conv2d(dim, dim, 5, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return first * self.conv(self.norm(second))


class GatedMLP(nn.Module):
    """fc2(gate(GELU(fc1(x)))); `kernel_size` is without effect, as published."""

    def __init__(self, dim: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.sg = SpatialGate(hidden // 2)
        self.fc2 = nn.Linear(hidden // 2, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.sg(F.gelu(self.fc1(x))))


def gumbel_noise(logits: Tensor) -> Tensor:
    """Gumbel noise for `logits` (B, L, T), in their shape."""
    return -torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_().log()


class StateSpace(nn.Module):
    """One scan through all pixels, in the order of their classes; a prompt of each pixel's class is added to C.

    A pixel's class is the most likely of T by `route`, with Gumbel noise in training and, where `noise` is set, in
    evaluation. The prompt of position t of the sorted sequence is that of pixel t of the unsorted image: this is how
    the published weights were trained.
    """

    def __init__(self, dim: int, hidden: int, states: int, inner_rank: int, prompts: int, noise: bool) -> None:
        super().__init__()
        self.noise = noise
        self.selectiveScan = SelectiveScan(1, hidden, states, math.ceil(hidden / 16))
        self.out_norm = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, dim)
        self.in_proj = nn.Sequential(Conv2d(dim, hidden, 1))
        self.CPE = nn.Sequential(Conv2d(hidden, hidden, 3, groups=hidden))
        self.embeddingB = nn.Embedding(prompts, inner_rank)
        self.route = nn.Sequential(nn.Linear(dim, dim // 3), nn.GELU(), nn.Linear(dim // 3, prompts))
        nn.init.uniform_(self.embeddingB.weight, -1 / prompts, 1 / prompts)

    def forward(self, x: Tensor, embedding: nn.Embedding) -> Tensor:
        """A map (B, H, W, C) to one of the same shape; `embedding` (inner rank, N) is the layer's."""
        classes, prompt = self.routed(x.flatten(1, 2), self.embeddingB.weight @ embedding.weight)
        u = self.in_proj(x)
        u = (u * torch.sigmoid(self.CPE(u))).flatten(1, 2)  # (B, L, E)
        order = classes.sort(dim=1, stable=True).indices
        u = u.gather(1, order[..., None].expand_as(u))
        y = self.selectiveScan.scan(u[:, None], prompt[:, None])[:, 0]
        y = self.out_proj(self.out_norm(y))
        return torch.empty_like(y).scatter(1, order[..., None].expand_as(y), y).unflatten(1, x.shape[1:3])

    def routed(self, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """The classes (B, L) and prompts (B, L, N) of pixels (B, L, C), from a dictionary of prompts (T, N).

        The route's gradient is that of softmax in place of the choice (straight through).
        """
        logits = self.route(x)
        if self.training or self.noise:
            logits = logits + gumbel_noise(logits)
        classes = logits.argmax(dim=-1)
        prompt = F.embedding(classes, prompts)
        if torch.is_grad_enabled() and logits.requires_grad:
            soft = logits.softmax(dim=-1)
            prompt = prompt + (soft - soft.detach()) @ prompts.detach()
        return classes, prompt


class Layer(nn.Module):
    """w = x + attention(LN(x)), w = w + FFN(LN(w)), x' = scale1 * x + w;
    z = x' + scan(LN(x')), z = z + FFN(LN(z)), and the result is scale2 * x' + z."""

    def __init__(
        self, dim: int, heads: int, window: int, shifted: bool, states: int, inner_rank: int, prompts: int,
        ratio: float, kernel_size: int, gated: bool, noise: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        hidden, make_ffn = int(ratio * dim), GatedMLP if gated else ConvFFN
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(dim) for _ in range(4))
        self.scale1, self.scale2 = (nn.Parameter(torch.full((dim,), 1e-4)) for _ in range(2))
        self.wqkv = nn.Linear(dim, 3 * dim)
        self.win_mhsa = WindowAttention(dim, window, heads, shifted)
        self.assm = StateSpace(dim, hidden, states, inner_rank, prompts, noise)
        self.convffn1, self.convffn2 = (make_ffn(dim, hidden, kernel_size) for _ in range(2))
        self.embeddingA = nn.Embedding(inner_rank, states)
        nn.init.uniform_(self.embeddingA.weight, -1 / inner_rank, 1 / inner_rank)

    def forward(self, x: Tensor, index: Tensor, masks: Tensor) -> Tensor:
        w = x + self.win_mhsa(self.wqkv(self.norm1(x)), index, masks)
        w = w + self.convffn1(self.norm2(w))
        x = x * self.scale1 + w
        z = x + self.assm(self.norm3(x), self.embeddingA)
        z = z + self.convffn2(self.norm4(z))
        return x * self.scale2 + z


@ARCH_REGISTRY.register()
class MambaIRv2(Shell):
    """MambaIRv2 (CVPR 2025), by default its size B.

    Images (B, 3, H, W) in [0, 1] become (B, 3, scale * H, scale * W); H and W must be at least half of what the next
    multiples of the window are. In evaluation the same image gives the same result unless `noise` is set.

    For a result of 1280x720 at x2, the scan of a layer of size B takes 313 MiB for each of its input, step sizes and
    result (348 channels, float32), and 115 MiB for the routes. The states take 11 MiB in the plain form and 39 MiB in
    the kernel. A layer's peak on a CPU is 2.1 GiB, and 0.55 GiB for the light network.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of each of `num_heads`.
        depths (list[int]): layers of each group; every second one attends in shifted windows.
        num_heads (list[int]): heads of each group.
        window_size (int): pixels of a window's side.
        d_state (int): states of each channel of the scan.
        inner_rank (int): rank of the dictionary of prompts.
        num_tokens (int): prompts, each for one class of pixels.
        convffn_kernel_size (int): of the depthwise convolutions between the linear layers.
        mlp_ratio (float): scan and linear layers are int(mlp_ratio * embed_dim) wide.
        upsampler (str): `pixelshuffle` or `pixelshuffledirect`.
        noise (bool): choose classes with Gumbel noise in evaluation too, as the published code does; not a published
            argument.
        in_chans (int): channels of the image.
        img_range (float): 1.0.
        resi_connection (str): `1conv`.
        img_size (int): without effect.
    """

    gated = False  # linear layers have a spatial gate

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 174,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window_size: int = 16,
        d_state: int = 16,
        inner_rank: int = 64,
        num_tokens: int = 128,
        convffn_kernel_size: int = 5,
        mlp_ratio: float = 2.0,
        upsampler: Tail = 'pixelshuffle',
        noise: bool = False,
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        if len(depths) != len(num_heads):
            raise ValueError(f'depths has {len(depths)} groups and num_heads {len(num_heads)}, they must be as many')
        if wrong := [heads for heads in num_heads if embed_dim % heads]:
            raise ValueError(f'embed_dim is {embed_dim}, it must be a multiple of num_heads, {wrong[0]}')
        if self.gated and int(mlp_ratio * embed_dim) % 2:
            raise ValueError(f'mlp_ratio * embed_dim is {int(mlp_ratio * embed_dim)}, the gate needs an even number')
        self.window = window_size
        sizes = (d_state, inner_rank, num_tokens, mlp_ratio, convffn_kernel_size, self.gated, noise)
        groups = [
            Group(
                embed_dim,
                [Layer(embed_dim, heads, window_size, bool(j % 2), *sizes) for j in range(depth)],
                name='layers',
            )
            for depth, heads in zip(depths, num_heads, strict=True)
        ]
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans, multiple=window_size)
        self.apply(init_weights)

    def shared(self, height: int, width: int) -> tuple[Any, ...]:
        """The index of the bias tables and the four masks that windows of a rolled map have."""
        device, window = self.mean.device, self.window
        return relative_index(window, device), shift_mask(2 * window, 2 * window, window, device)


@ARCH_REGISTRY.register()
class MambaIRv2Light(MambaIRv2):
    """MambaIRv2-light: as MambaIRv2, with a spatial gate between the linear layers, whose kernel is always 5x5.

    See `MambaIRv2` for the arguments; the sizes are the light ones' by default.
    """

    gated = True

    def __init__(
        self,
        upscale: int = 2,
        embed_dim: int = 48,
        depths: Sequence[int] = (5, 5, 5, 5),
        num_heads: Sequence[int] = (4, 4, 4, 4),
        window_size: int = 16,
        d_state: int = 8,
        inner_rank: int = 32,
        num_tokens: int = 64,
        convffn_kernel_size: int = 5,
        mlp_ratio: float = 1.0,
        upsampler: Tail = 'pixelshuffledirect',
        noise: bool = False,
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
    ) -> None:
        super().__init__(
            upscale, embed_dim, depths, num_heads, window_size, d_state, inner_rank, num_tokens, convffn_kernel_size,
            mlp_ratio, upsampler, noise, in_chans, img_range, resi_connection, img_size,
        )  # fmt: skip
