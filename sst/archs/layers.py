"""Layers that our networks share, all on maps (B, H, W, C).

`fused` selects kernels that compute several steps at once (`sst.ops.pointwise`). `optimize_for_inference` of the
networks sets it. `fused_training` selects those that have gradients, while a network is trained.
"""

from torch import Tensor, nn

from sst.ops import depthwise_gelu_add, norm_linear

# Far more than any use, so that a typing error does not build a network for minutes.
MOST_CHANNELS = 8192


class Conv2d(nn.Conv2d):
    """A convolution on a map (B, H, W, C) that keeps its size: zero padding by half the kernel.

    The permutations are views; the convolution sees a channels_last tensor.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvFFN(nn.Module):
    """h = GELU(PW(LN(x))); h = h + GELU(DW3x3(h)); PW(h) + skip. The caller owns the norm; None leaves it out."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.depthwise = Conv2d(hidden, hidden, 3, groups=hidden)
        self.project = nn.Linear(hidden, dim)
        self.fused, self.fused_training = False, False

    def forward(self, x: Tensor, norm: nn.LayerNorm | None, skip: Tensor | None = None) -> Tensor:
        h = norm_linear(x, norm, self.expand, 'gelu', fused=self.fused)
        fused = self.fused or (self.fused_training and self.training)
        return norm_linear(depthwise_gelu_add(h, self.depthwise, fused=fused), None, self.project, skip=skip)
