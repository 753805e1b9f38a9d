"""The parts of an SST layer, all on maps (B, H, W, C)."""

from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """A convolution on a map (B, H, W, C) that keeps its size: zero padding by half the kernel.

    The permutations are views: to the convolution the map is a channels_last tensor.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class CLA(nn.Module):
    """Convolutional local attention's gate, sigmoid(PW(DW3x3(x))) (Eq. 9)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = Conv2d(dim, dim, 3, groups=dim)
        self.pointwise = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x)).sigmoid()


class PointwiseGate(nn.Module):
    """The gate without its convolution, sigmoid(PW(x)) (ablation)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pointwise = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(x).sigmoid()


class ConvFFN(nn.Module):
    """h = GELU(PW(x)); h = h + GELU(DW3x3(h)); PW(h)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.depthwise = Conv2d(hidden, hidden, 3, groups=hidden)
        self.project = nn.Linear(hidden, dim)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.expand(x))
        h = h + self.activation(self.depthwise(h))
        return self.project(h)
