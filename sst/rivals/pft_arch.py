"""PFT: attention whose map is multiplied with the one before it, and whose keys become fewer from layer to layer."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sst.ops.sparse_products import scores_at, spread, sum_at
from sst.ops.windows import merge, partition
from sst.rivals.parts import ConvFFN, DepthwiseGELU, init_weights, relative_index, shift_mask
from sst.rivals.shell import Group, Shell, Tail

SIZES: dict[str, dict[str, Any]] = {
    'PFT': {
        'embed_dim': 240,
        'depths': [4, 4, 4, 6, 6, 6],
        'num_heads': 6,
        'num_topk': [1024] * 4 + [256] * 4 + [128] * 4 + [64] * 6 + [32] * 6 + [16] * 6,
        'window_size': 32,
        'convffn_kernel_size': 7,
        'mlp_ratio': 2.0,
        'upsampler': 'pixelshuffle',
    },
    'PFT-light': {
        'embed_dim': 52,
        'depths': [2, 4, 6, 6, 6],
        'num_heads': 4,
        'num_topk': [1024] * 2 + [256] * 4 + [128] * 6 + [64] * 6 + [32] * 6,
        'window_size': 32,
        'convffn_kernel_size': 7,
        'mlp_ratio': 1.0,
        'upsampler': 'pixelshuffledirect',
    },
}
EPSILON = 1e-20
CHUNK = 2**25  # scores of all pairs that are computed at once: 128 MiB in float32
CPU_CHUNK = 2**21  # the same on a CPU: 8 MiB
FEW = 16  # Products at k of n keys are faster than dense ones up to about k = n / FEW (measured on a CPU).

State = tuple[Tensor | None, Tensor | None]  # an attention map (windows, heads, N, k), its keys where they are not all


class Refocus(torch.autograd.Function):
    """(softmax(S) P + eps) / sum(softmax(S) P + eps), which is softmax(S + log P); it keeps its result and P only."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, previous: Tensor) -> Tensor:
        attention = scores.softmax(dim=-1).mul_(previous).add_(EPSILON)
        attention /= attention.sum(dim=-1, keepdim=True)
        ctx.save_for_backward(attention, previous)
        return attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        attention, previous = ctx.saved_tensors
        of_scores = gradient * attention
        of_scores = of_scores.addcmul(attention, of_scores.sum(dim=-1, keepdim=True), value=-1)
        return of_scores, torch.where(previous > 0, of_scores / previous, 0)


class Focus:
    """What one pass hands from layer to layer: for either grid of windows, plain or shifted, each chunk's state."""

    def __init__(self, height: int, width: int, window: int, device: torch.device) -> None:
        rows, columns = height // window, width // window
        below = torch.arange(rows, device=device) == rows - 1
        right = torch.arange(columns, device=device) == columns - 1
        self.index = relative_index(window, device)
        self.masks = shift_mask(2 * window, 2 * window, window, device)
        self.kinds = (2 * below.int()[:, None] + right.int()).flatten()  # which of the masks a window has
        self.states: dict[bool, dict[tuple[int, int], State]] = {False: {}, True: {}}

    def masks_of(self, windows: slice) -> Tensor:
        """The masks (windows, 1, N, N) of some of the batch's windows, which are numbered image by image."""
        numbers = torch.arange(windows.start, windows.stop, device=self.kinds.device) % len(self.kinds)
        return self.masks[self.kinds[numbers]][:, None]


class FocusedAttention(nn.Module):
    """Attention in windows of w x w = N pixels, plain or shifted by w / 2, which keeps k keys of each query.

    With the map P and the keys I that the layer before it on the same grid of windows left, a layer computes

        S = q k[I]^T / sqrt(d) + bias of the offset,    A = softmax(S) P / sum(softmax(S) P),

    keeps the k greatest of A and their keys as the next P and I, and returns A v[I]. Kept values are not scaled up.
    The first layers have all keys; there S of the shifted grid has the mask of the parts of the image. P and the sum
    are in float32 at least.

    Dense products serve where more than N / 16 keys remain: then A is spread over all keys, and S taken from all.
    """

    def __init__(self, dim: int, heads: int, window: int, shifted: bool, keep: int) -> None:
        super().__init__()
        self.heads, self.window, self.shifted, self.keep = heads, window, shifted, keep
        tables = heads if dim > 100 else 1
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, tables))
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, qkv: Tensor, beside: Tensor, focus: Focus) -> Tensor:
        """A map (B, H, W, 3C) to (B, H, W, C); `beside` (B, H, W, C) is added before the projection."""
        _, height, width, _ = qkv.shape
        shift = self.window // 2 if self.shifted else 0
        windows = partition(qkv.roll((-shift, -shift), dims=(1, 2)) if shift else qkv, self.window)
        q, k, v = windows.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (windows, heads, N, d)
        y = self.attend(q, k, v, focus).transpose(1, 2).flatten(2)
        y = merge(y, self.window, height, width)
        return self.proj((y.roll((shift, shift), dims=(1, 2)) if shift else y) + beside)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, focus: Focus) -> Tensor:
        """q, k, v of all windows (windows, heads, N, d) to their results in the same shape, in chunks."""
        bias = self.bias(focus.index)
        (windows, heads), scale = chunk_size(q), q.shape[-1] ** -0.5
        states, results = focus.states[self.shifted], []
        for w in slices(len(q), windows):
            mask = focus.masks_of(w) if self.shifted else None
            of_heads = []
            for h in slices(self.heads, heads):
                key = w.start, h.start
                state = states.pop(key, (None, None))
                chunk = (q[w, h] * scale, k[w, h], v[w, h], bias[h] if len(bias) > 1 else bias)
                result, states[key] = self.attend_chunk(*chunk, mask if state[1] is None else None, state)
                of_heads.append(result)
            results.append(torch.cat(of_heads, dim=1))
        return torch.cat(results)

    def attend_chunk(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """The result of a chunk of windows and heads, whose q are scaled, and its next state."""
        previous, index = state
        s = scores(q, k, bias, mask, index)
        attention = s.softmax(dim=-1) if previous is None else Refocus.apply(s, previous)
        if self.keep < min(k.shape[2], attention.shape[-1]):
            attention, positions = attention.topk(self.keep, dim=-1, sorted=False)
            index = positions.to(index_type(k.shape[2])) if index is None else index.gather(-1, positions)
        return weighted_sum(attention.to(v.dtype), v, index), (attention, index)

    def bias(self, index: Tensor) -> Tensor:
        """(heads or 1, N, N): the table at the offset of each pair."""
        table = self.relative_position_bias_table.T
        return table.index_select(1, index.flatten()).unflatten(1, index.shape)


def chunk_size(q: Tensor) -> tuple[int, int]:
    """How many windows and heads of q (windows, heads, N, d) have at most CHUNK scores, at least one of each."""
    maps = (CPU_CHUNK if q.device.type == 'cpu' else CHUNK) // q.shape[2] ** 2
    return max(1, maps // q.shape[1]), max(1, min(maps, q.shape[1]))


def slices(length: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size`."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def scores(q: Tensor, k: Tensor, bias: Tensor, mask: Tensor | None, index: Tensor | None) -> Tensor:
    """q k^T + bias + mask in float32 at least, of all pairs or at the keys of `index`."""
    if index is not None and few(index, k):
        products = scores_at(q.flatten(0, 1), k.flatten(0, 1), index.flatten(0, 1)).view(index.shape)
        return wide(products) + bias.expand(*q.shape[:2], -1, -1).gather(-1, index.long())
    s = wide(q @ k.mT)
    s += bias
    if mask is not None:
        s += mask
    return s if index is None else s.gather(-1, index.long())


def weighted_sum(attention: Tensor, v: Tensor, index: Tensor | None) -> Tensor:
    """attention v, of all keys or those of `index`."""
    if index is None:
        return attention @ v
    if few(index, v):
        return sum_at(attention.flatten(0, 1), v.flatten(0, 1), index.flatten(0, 1)).view(v.shape)
    return spread(attention, index, v.shape[2]) @ v


def few(index: Tensor, keys: Tensor) -> bool:
    """Whether products at the keys of `index` are faster than products with all keys (windows, heads, N, d)."""
    return index.shape[-1] * FEW <= keys.shape[2]


def wide(x: Tensor) -> Tensor:
    """In float32 at least: products of attention maps vanish in less."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def index_type(keys: int) -> torch.dtype:
    """The smallest type that numbers `keys` keys; windows of up to 181 x 181 pixels need two bytes."""
    return torch.int16 if keys <= 2**15 else torch.int32


class Layer(nn.Module):
    """x + proj(attention + GELU(DW(v))) of LN(x), then x + FFN(LN(x))."""

    def __init__(
        self, dim: int, heads: int, window: int, shifted: bool, keep: int, ratio: float, kernel_size: int
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.wqkv = nn.Linear(dim, 3 * dim)
        self.v_LePE = DepthwiseGELU(dim, kernel_size)
        self.attn_win = FocusedAttention(dim, heads, window, shifted, keep)
        self.convffn = ConvFFN(dim, int(ratio * dim), kernel_size)

    def forward(self, x: Tensor, focus: Focus) -> Tensor:
        qkv = self.wqkv(self.norm1(x))
        x = x + self.attn_win(qkv, self.v_LePE(qkv.chunk(3, dim=-1)[2]), focus)
        return x + self.convffn(self.norm2(x))


@ARCH_REGISTRY.register()
class PFT(Shell):
    """PFT, the progressive focused transformer (CVPR 2025), by default as published for x2.

    Images (B, 3, H, W) in [0, 1] become (B, 3, scale * H, scale * W); H and W must be at least half of what the next
    multiples of the window are.

    Args:
        upscale (int): 2, 3 or 4.
        embed_dim (int): channels of the maps, a multiple of `num_heads`; over 100, each head has a table of biases.
        depths (list[int]): layers of each group; every second one attends in shifted windows.
        num_heads (int): heads of every layer.
        num_topk (list[int]): keys that a query keeps, for each layer of all groups; window_size ** 2 keeps what there
            is. Layers of the same grid of windows must not get more than the one before them had.
        window_size (int): pixels of a window's side.
        convffn_kernel_size (int): of the depthwise convolutions.
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
        embed_dim: int = 240,
        depths: Sequence[int] = (4, 4, 4, 6, 6, 6),
        num_heads: int = 6,
        num_topk: Sequence[int] = tuple(SIZES['PFT']['num_topk']),
        window_size: int = 32,
        convffn_kernel_size: int = 7,
        mlp_ratio: float = 2.0,
        upsampler: Tail = 'pixelshuffle',
        in_chans: int = 3,
        img_range: float = 1.0,
        resi_connection: Literal['1conv'] = '1conv',
        img_size: int = 64,
    ) -> None:
        if img_range != 1.0:
            raise ValueError(f'img_range is {img_range}, only 1.0 is possible')
        if embed_dim % num_heads:
            raise ValueError(f'embed_dim is {embed_dim}, it must be a multiple of num_heads, {num_heads}')
        shifts = [bool(j % 2) for depth in depths for j in range(depth)]
        check_kept(num_topk, shifts, window_size**2)
        sizes, kept = (mlp_ratio, convffn_kernel_size), iter(num_topk)
        groups = [
            Group(
                embed_dim,
                [Layer(embed_dim, num_heads, window_size, bool(j % 2), next(kept), *sizes) for j in range(depth)],
                name='layers',
            )
            for depth in depths
        ]
        self.window = window_size
        super().__init__(embed_dim, groups, upscale, upsampler, in_chans, multiple=window_size)
        self.apply(init_weights)

    def shared(self, height: int, width: int) -> tuple[Any, ...]:
        """The states of all chunks of windows, empty before the first layer."""
        return (Focus(height, width, self.window, self.mean.device),)


def check_kept(num_topk: Sequence[int], shifts: Sequence[bool], keys: int) -> None:
    """Raise ValueError unless there is one count per layer, and none above what the layer before it left."""
    if len(num_topk) != len(shifts):
        raise ValueError(f'num_topk has {len(num_topk)} entries, it needs one for each of the {len(shifts)} layers')
    left = {False: keys, True: keys}
    for layer, (keep, shifted) in enumerate(zip(num_topk, shifts, strict=True)):
        if keep < 1 or left[shifted] < keep != keys:
            raise ValueError(
                f'num_topk of layer {layer} is {keep}, it must be from 1 to the {left[shifted]} keys '
                f'that are left, or {keys} to keep those'
            )
        left[shifted] = min(left[shifted], keep)
