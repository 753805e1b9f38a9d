"""The shell of SwinIR's descendants: mean shift, first convolution, residual groups of blocks, and a tail.

With f0 = conv_first(x - m) and t its normalised map: t <- t + conv(blocks(t)) for each group, then
y = conv_after_body(norm(t)) + f0, and the tail enlarges y. m is the mean colour of DIV2K.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sst.archs.layers import Conv2d
from sst.rivals.parts import flip_padded

MEAN = (0.4488, 0.4371, 0.4040)
WIDTH = 64  # channels of the classical tail
Tail = Literal['pixelshuffle', 'pixelshuffledirect']


class Group(nn.Module):
    """t + conv(blocks(t)); the blocks are `residual_group.<name>`, as published."""

    def __init__(self, dim: int, blocks: Iterable[nn.Module], name: str = 'blocks') -> None:
        super().__init__()
        self.residual_group = nn.Module()
        self.residual_group.add_module(name, nn.ModuleList(blocks))
        self.conv = Conv2d(dim, dim, 3)
        self.name = name

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, in order."""
        return getattr(self.residual_group, self.name)

    def forward(self, t: Tensor, *shared: Any) -> Tensor:
        """A map (B, H, W, C) to one of the same shape; `shared` goes to every block."""
        y = t
        for block in self.blocks:
            y = block(y, *shared)
        return t + self.conv(y)


class PatchEmbed(nn.Module):
    """The norm of the first map, under its published name `patch_embed.norm`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)


class Shell(nn.Module):
    """What PFT, MambaIR, MambaIRv2, HiT-SRF, ART, IPG and CAT have around their groups.

    Args:
        dim (int): channels of the maps.
        groups (Iterable): modules from maps (B, H, W, C) to maps, called with what `shared` gives.
        scale (int): 2, 3 or 4.
        tail (str): `pixelshuffle` (the classical one, with 64 channels) or `pixelshuffledirect` (the light one).
        multiple (int): the image is padded by its flip until its sides are multiples of this.
    """

    pads_itself = True  # images of any size
    multiple: int
    mean: Tensor

    def __init__(
        self, dim: int, groups: Iterable[nn.Module], scale: int, tail: Tail, in_chans: int = 3, multiple: int = 1
    ) -> None:
        super().__init__()
        self.scale, self.multiple = scale, multiple
        mean = torch.tensor(MEAN if in_chans == 3 else (0.0,) * in_chans).view(1, -1, 1, 1)
        self.register_buffer('mean', mean, persistent=False)
        self.conv_first = nn.Conv2d(in_chans, dim, 3, padding=1)
        self.patch_embed = PatchEmbed(dim)
        self.layers = nn.ModuleList(groups)
        self.norm = nn.LayerNorm(dim)
        self.conv_after_body = nn.Conv2d(dim, dim, 3, padding=1)
        if tail == 'pixelshuffle':
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(dim, WIDTH, 3, padding=1), nn.LeakyReLU())
            self.upsample = nn.Sequential(*classical_upsampler(scale, WIDTH))
            self.conv_last = nn.Conv2d(WIDTH, in_chans, 3, padding=1)
        else:
            self.upsample = nn.Sequential(nn.Conv2d(dim, in_chans * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def shared(self, height: int, width: int) -> tuple[Any, ...]:
        """What every group gets beside the map of height x width; a subclass computes it once per pass."""
        return ()

    def first_norm(self, t: Tensor) -> Tensor:
        """The norm of the first map (B, H, W, C)."""
        return self.patch_embed.norm(t)

    def padded(self, image: Tensor) -> Tensor:
        """The image (B, C, H, W) extended to multiples of `multiple`."""
        return flip_padded(image, self.multiple)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W)."""
        height, width = image.shape[-2:]
        image = self.padded(image) - self.mean
        first = self.conv_first(image)
        t = self.first_norm(first.permute(0, 2, 3, 1))
        shared = self.shared(*image.shape[-2:])
        for group in self.layers:
            t = group(t, *shared)
        y = self.conv_after_body(self.norm(t).permute(0, 3, 1, 2)) + first
        if hasattr(self, 'conv_last'):
            y = self.conv_last(self.upsample(self.conv_before_upsample(y)))
        else:
            y = self.upsample(y)
        return (y + self.mean)[..., : self.scale * height, : self.scale * width]


def classical_upsampler(scale: int, width: int) -> list[nn.Module]:
    """Convolutions and pixel shuffles: one step for x2 and x3, two steps of x2 for x4."""
    steps = (2, 2) if scale == 4 else (scale,)
    return [
        layer for step in steps for layer in (nn.Conv2d(width, width * step**2, 3, padding=1), nn.PixelShuffle(step))
    ]
