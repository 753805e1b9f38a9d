"""What several rival networks share. Maps are (B, H, W, C); windows (windows, N, C) with N = w * w, row by row."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.archs.layers import Conv2d

MOST_BIASES = 2**26  # that stand in memory at once


def init_weights(module: nn.Module) -> None:
    """Truncated normal of deviation 0.02 for linear weights, 0 for their biases; for `module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def flip_padded(image: Tensor, multiple: int) -> Tensor:
    """Extend an image (B, C, H, W) at the bottom, then at the right, until both sides are multiples of `multiple`.

    The image's flip is appended, so the edge is repeated. Raises ValueError where the padding is larger than the image.
    """
    for axis in (2, 3):
        size = image.shape[axis]
        missing = -size % multiple
        if missing > size:
            raise ValueError(f'an image of {size} pixels cannot be padded to {size + missing} by its flip')
        if missing:
            image = torch.cat([image, image.flip(axis).narrow(axis, 0, missing)], dim=axis)
    return image


def relative_index(window: int, device: torch.device | None = None) -> Tensor:
    """(N, N) of int64: for query (yi, xi) and key (yj, xj) the row (yi-yj+w-1)(2w-1) + (xi-xj+w-1) of a bias table."""
    position = torch.arange(window * window, device=device)
    y, x = position // window, position % window
    rows = y[:, None] - y[None, :] + window - 1
    return rows * (2 * window - 1) + x[:, None] - x[None, :] + window - 1


def shift_mask(height: int, width: int, window: int, device: torch.device | None = None) -> Tensor:
    """(windows, N, N): -100 where query and key of a window of the map rolled by w // 2 come from different parts."""

    def labels(size: int) -> Tensor:
        position = torch.arange(size, device=device)
        return (position >= size - window).int() + (position >= size - window // 2).int()

    label = 3 * labels(height)[:, None] + labels(width)[None, :]
    rows, columns = height // window, width // window
    parts = label.reshape(rows, window, columns, window).transpose(1, 2).reshape(-1, window * window)
    return -100.0 * (parts[:, :, None] != parts[:, None, :]).float()


class DropPath(nn.Module):
    """Leaves out a residual branch for whole images at random while training (stochastic depth)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype) >= self.rate
        return x * kept / (1 - self.rate)


class Mlp(nn.Module):
    """fc2(GELU(fc1(x)))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class DepthwiseGELU(nn.Module):
    """GELU of a depthwise convolution, with the published key `depthwise_conv.0`."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(Conv2d(dim, dim, kernel_size, groups=dim), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return self.depthwise_conv(x)


class ConvFFN(nn.Module):
    """u = GELU(fc1(x)); fc2(u + GELU(DW(u)))."""

    def __init__(self, dim: int, hidden: int, kernel_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseGELU(hidden, kernel_size)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        u = F.gelu(self.fc1(x))
        return self.fc2(u + self.dwconv(u))


class ChannelAttention(nn.Module):
    """x times sigmoid(conv(ReLU(conv(mean of x over the image)))), with the published keys `attention.1` and `.3`."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Identity(), Conv2d(dim, hidden, 1), nn.ReLU(inplace=True), Conv2d(hidden, dim, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x.mean(dim=(1, 2), keepdim=True))


class DynamicPositionBias(nn.Module):
    """A small network from offsets (dy, dx) to a bias per head: Linear, then three times LayerNorm, ReLU, Linear."""

    pos1: nn.Module
    pos2: nn.Module
    pos3: nn.Module

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        hidden = dim // 4
        self.pos_proj = nn.Linear(2, hidden)
        for name, outputs in (('pos1', hidden), ('pos2', hidden), ('pos3', heads)):
            setattr(self, name, nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, outputs)))

    def forward(self, offsets: Tensor) -> Tensor:
        """(M, 2) to (M, heads)."""
        return self.pos3(self.pos2(self.pos1(self.pos_proj(offsets))))

    def table(self, height: int, width: int) -> Tensor:
        """The bias of all offsets of windows of height x width: (heads, (2 height - 1)(2 width - 1)), row by row."""
        weight = self.pos_proj.weight
        dy = torch.arange(1 - height, height, device=weight.device, dtype=weight.dtype)
        dx = torch.arange(1 - width, width, device=weight.device, dtype=weight.dtype)
        return self(torch.stack(torch.meshgrid(dy, dx, indexing='ij'), dim=-1).reshape(-1, 2)).T

    def bias(self, height: int, width: int) -> Tensor:
        """(heads, N, N) for windows of height x width: the table at query minus key."""
        queries = torch.arange(height * width, device=self.pos_proj.weight.device)
        return self.table(height, width)[:, offsets(queries, height, width)]


def offsets(queries: Tensor, height: int, width: int) -> Tensor:
    """(queries, height * width): where the offsets of some pixels of a window to all stand in `table`."""
    keys = torch.arange(height * width, device=queries.device)
    rows = queries[:, None] // width - keys // width + height - 1
    return rows * (2 * width - 1) + queries[:, None] % width - keys % width + width - 1


def offset_attention(
    q: Tensor, k: Tensor, v: Tensor, pos: DynamicPositionBias, sides: tuple[int, int], mask: Tensor | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias of the offset + mask) v in windows of sides[0] x sides[1] = N pixels.

    q, k and v are (windows, heads, N, d), `mask` broadcasts to (windows, heads, N, N). Bias and mask are built for some
    queries at a time, so that large windows need little memory.
    """
    _, heads, pixels, _ = q.shape
    table = pos.table(*sides)
    rows = max(1, MOST_BIASES // (pixels * heads * (1 if mask is None else len(mask))))
    results = []
    for queries in torch.arange(pixels, device=q.device).split(rows):
        bias = table[:, offsets(queries, *sides)][None]
        if mask is not None:
            bias = bias + (mask if mask.shape[2] == 1 else mask[:, :, queries])
        part = q if len(queries) == pixels else q[:, :, queries]
        results.append(F.scaled_dot_product_attention(part, k, v, bias.to(q.dtype)))
    return torch.cat(results, dim=2)


def strided(x: Tensor, height: int, width: int) -> Tensor:
    """Cut a map (B, H, W, C) into groups of height x width pixels that lie H / height rows and W / width columns apart.

    Returns (B * groups, height * width, C), row by row; there is a group for each offset of its first pixel.
    """
    b, h, w, c = x.shape
    x = x.reshape(b, height, h // height, width, w // width, c)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(-1, height * width, c)


def unstrided(groups: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """The inverse of `strided`: groups of height x width pixels back to a map (B, rows, columns, C)."""
    x = groups.reshape(-1, rows // height, columns // width, height, width, groups.shape[-1])
    return x.permute(0, 3, 1, 4, 2, 5).reshape(-1, rows, columns, groups.shape[-1])


def cut_rectangles(x: Tensor, height: int, width: int) -> Tensor:
    """Cut a map (B, H, W, C) into windows of height x width pixels: (B * windows, height * width, C), row by row."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // height, height, w // width, width, c)
    return x.transpose(2, 3).reshape(-1, height * width, c)


def join_rectangles(windows: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """The inverse of `cut_rectangles`: windows of height x width pixels back to a map (B, rows, columns, C)."""
    x = windows.reshape(-1, rows // height, columns // width, height, width, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, rows, columns, windows.shape[-1])
