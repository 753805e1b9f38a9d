"""From features and the LR image to the SR image: (B, H, W, C) and (B, H, W, 3) to (B, sH, sW, 3).

The features may be in half precision; the image is added in its own dtype. Upsamplers are registered in UPSAMPLERS.
"""

import math
from collections.abc import Mapping
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sst.archs.bias.base import Released
from sst.archs.layers import MOST_CHANNELS, Conv2d
from sst.options.parts import PartOptions
from sst.options.registries import UPSAMPLERS

Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS, description='channels between the convolutions')]


def pixel_shuffle(x: Tensor, scale: int) -> Tensor:
    """(B, H, W, C s^2) to (B, sH, sW, C); input channels ordered c s^2 + dy s + dx."""
    return F.pixel_shuffle(x.permute(0, 3, 1, 2), scale).permute(0, 2, 3, 1)


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Enlarge a map (B, H, W, C) by nearest neighbour."""
    return x.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)


@UPSAMPLERS.register('pixelshuffle_direct')
class PixelShuffleDirect(nn.Module):
    """One convolution, pixel shuffle, plus the enlarged image (the light models)."""

    released = Released('pixelshuffle_direct', names={'up_conv': 'up'})

    def __init__(self, dim: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.up = Conv2d(dim, 3 * scale**2, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        return pixel_shuffle(self.up(features), self.scale) + enlarge(image, self.scale)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict | None:
        """Infer the options, and the network's `scale`, from the shapes of an upsampler's parameters, or None."""
        if 'up.weight' not in state or 'reduce.weight' in state:
            return None
        return {'scale': math.isqrt(state['up.weight'].shape[0] // 3)}


@UPSAMPLERS.register('pixelshuffle')
class PixelShuffle(nn.Module):
    """Convolution, LeakyReLU, convolution, one pixel shuffle (also by 4), convolution, plus the enlarged image."""

    class Options(PartOptions):
        """The options of PixelShuffle."""

        channels: Channels

    released = Released(
        'pixelshuffle',
        fields={'intermediate_dim': 'channels'},
        names={'feature_conv': 'reduce', 'up_conv': 'up', 'final_conv': 'last'},
    )

    def __init__(self, dim: int, scale: int, channels: int) -> None:
        super().__init__()
        self.scale = scale
        self.reduce = Conv2d(dim, channels, 3)
        self.up = Conv2d(channels, channels * scale**2, 3)
        self.last = Conv2d(channels, 3, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.reduce(features), 0.1)
        return self.last(pixel_shuffle(self.up(x), self.scale)) + enlarge(image, self.scale)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict | None:
        """As `PixelShuffleDirect.recognise`."""
        if not {'up.weight', 'reduce.weight'} <= state.keys():
            return None
        outputs, channels = state['up.weight'].shape[:2]
        return {'channels': channels, 'scale': math.isqrt(outputs // channels)}


@UPSAMPLERS.register('nearest_conv')
class NearestConv(nn.Module):
    """Nearest enlargement and convolutions, after adding features of the image. The image itself is not added."""

    class Options(PartOptions):
        """The options of NearestConv."""

        channels: Channels

    released = Released(
        'nn+conv',
        fields={'intermediate_dim': 'channels'},
        names={
            'f_img.0': 'image_in',
            'f_img.1': 'image_conv',
            'f_img.3': 'image_out',
            'f.0': 'reduce',
            'f.3': 'convs.0',
            'f.5': 'last',  # for x2 and x3; x4 has one more step
            'f.6': 'convs.1',
            'f.8': 'last',
        },
    )

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

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict | None:
        """As `PixelShuffleDirect.recognise`; x2 and x3 have the same shapes."""
        if 'image_conv.weight' not in state:
            return None
        found = {'channels': state['reduce.weight'].shape[0]}
        return found | {'scale': 4} if 'convs.1.weight' in state else found
