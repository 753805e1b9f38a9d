"""From features at LR to the picture at HR: (features (B, H, W, C), image (B, H, W, 3)) to (B, sH, sW, 3).

The features may be of half precision; the image stays what it is, and so does what is added to it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from sst.archs.layers import Conv2d


def pixel_shuffle(x: Tensor, scale: int) -> Tensor:
    """(B, H, W, C s^2) to (B, sH, sW, C); input channels ordered c s^2 + dy s + dx."""
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), scale).permute(0, 2, 3, 1)


def enlarge(x: Tensor, scale: int) -> Tensor:
    """A map (B, H, W, C) by nearest neighbour."""
    return x.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)


class PixelShuffleDirect(nn.Module):
    """One convolution, pixel shuffle, plus the enlarged input (the light models)."""

    def __init__(self, dim: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.up = Conv2d(dim, 3 * scale**2, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        return pixel_shuffle(self.up(features), self.scale) + enlarge(image, self.scale)


class PixelShuffle(nn.Module):
    """Convolution, LeakyReLU, convolution, one pixel shuffle (by 4 too), convolution, plus the enlarged input."""

    def __init__(self, dim: int, scale: int, channels: int) -> None:
        super().__init__()
        self.scale = scale
        self.reduce = Conv2d(dim, channels, 3)
        self.up = Conv2d(channels, channels * scale**2, 3)
        self.last = Conv2d(channels, 3, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.reduce(features), 0.1)
        return self.last(pixel_shuffle(self.up(x), self.scale)) + enlarge(image, self.scale)


class NearestConv(nn.Module):
    """Features of the image added to those of the body, then nearest enlargement and convolutions. No image skip."""

    def __init__(self, dim: int, scale: int, channels: int) -> None:
        super().__init__()
        self.steps = (2, 2) if scale == 4 else (scale,)
        self.image_in = nn.Linear(3, dim)
        self.image_conv = Conv2d(dim, dim, 7)
        self.image_out = nn.Linear(dim, dim)
        self.reduce = Conv2d(dim, channels, 3)
        self.convs = nn.ModuleList(Conv2d(channels, channels, 3) for _ in self.steps)
        self.last = Conv2d(channels, 3, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        x = features + self.image_out(F.leaky_relu(self.image_conv(self.image_in(image.to(features.dtype))), 0.1))
        x = F.leaky_relu(self.reduce(x), 0.1)
        for step, conv in zip(self.steps, self.convs, strict=True):
            x = F.leaky_relu(conv(enlarge(x, step)), 0.1)
        return self.last(x)


def build_upsampler(options: dict, dim: int, scale: int) -> nn.Module:
    """The upsampler of the network's `upsampler` mapping."""
    match options['type']:
        case 'pixelshuffle_direct':
            return PixelShuffleDirect(dim, scale)
        case 'pixelshuffle':
            return PixelShuffle(dim, scale, options['channels'])
        case 'nearest_conv':
            return NearestConv(dim, scale, options['channels'])
        case other:
            raise ValueError(f'unknown upsampler type {other!r}')
