"""Bicubic enlargement as a network, so that it runs through the same pipeline and metrics as SR networks."""

import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.ops.imresize import imresize


@ARCH_REGISTRY.register()
class Bicubic(nn.Module):
    """MATLAB's bicubic enlargement of the 8-bit image, without parameters.

    Args:
        scale: Enlargement, the same for both axes.
    """

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, C, H * scale, W * scale), multiples of 1/255.

        Computed on the CPU, without gradient, and returned on the device and in the dtype of `x`.
        """
        batch, channels, height, width = x.shape
        levels = x.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
        image = levels.flatten(0, 1).permute(1, 2, 0).cpu().numpy()  # (H, W, B * C)
        enlarged = imresize(image, self.scale)
        result = torch.from_numpy(np.ascontiguousarray(enlarged.transpose(2, 0, 1)))
        result = result.view(batch, channels, height * self.scale, width * self.scale)
        return result.to(x.device).to(x.dtype) / 255
