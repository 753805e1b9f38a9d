"""ESC's emulation of attention by convolution, which ESC and ESCRIB share. The names of weights are ESC's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.archs.layers import Conv2d


def turned_mean(kernel: Tensor) -> Tensor:
    """Mean of the eight flips and rotations of a kernel (..., K, K)."""
    flips = (kernel, kernel.flip(-1), kernel.flip(-2), kernel.flip(-2, -1))
    return torch.stack([turned for flip in flips for turned in (flip, flip.transpose(-2, -1))]).mean(dim=0)


class ConvAttention(nn.Module):
    """The shared and the dynamic kernel on the first channels, then a 1x1 convolution of all.

    Args:
        dim (int): channels of the map.
        pdim (int): how many of them, the first ones, the kernels see.
    """

    def __init__(self, dim: int, pdim: int) -> None:
        super().__init__()
        self.pdim = pdim
        self.plk = DynamicKernel(pdim)
        self.aggr = Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """A map (B, H, W, C) and the shared kernel (pdim, pdim, K, K) to a map of the same shape."""
        first, rest = x.split((self.pdim, x.shape[-1] - self.pdim), dim=-1)
        seen = first.permute(0, 3, 1, 2)
        mixed = F.conv2d(seen, kernel, padding='same').permute(0, 2, 3, 1) + self.plk(first)
        return self.aggr(torch.cat((mixed, rest), dim=-1))


class DynamicKernel(nn.Module):
    """A depthwise 3x3 convolution whose kernel comes from the mean of each image. At first the kernels are 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        last = Conv2d(dim // 2, 9 * dim, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type] # it has a bias
        self.dwc_proj = nn.Sequential(nn.Identity(), Conv2d(dim, dim // 2, 1), nn.GELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """A map (B, H, W, C) to one of the same shape."""
        batch, height, width, dim = x.shape
        kernels = self.dwc_proj(x.mean(dim=(1, 2), keepdim=True)).reshape(batch * dim, 1, 3, 3)
        maps = x.permute(0, 3, 1, 2).reshape(1, batch * dim, height, width)  # the images side by side
        y = F.conv2d(maps, kernels, padding=1, groups=batch * dim)
        return y.reshape(batch, dim, height, width).permute(0, 2, 3, 1)
