"""Conditional positional encoding (ablation)."""

from torch import Tensor

from sst.archs.bias.base import PositionalBias
from sst.archs.layers import Conv2d


class CPE(PositionalBias):
    """x + DW3x3(x) before the layer; attention itself knows no positions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = Conv2d(dim, dim, 3, groups=dim)

    def features(self, x: Tensor) -> Tensor:
        return x + self.conv(x)
