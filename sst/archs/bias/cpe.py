"""Conditional positional encoding (ablation)."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from sst.archs.bias.base import PositionalBias, Released
from sst.archs.layers import Conv2d
from sst.options.registries import BIASES


@BIASES.register()
class CPE(PositionalBias):
    """A depthwise convolution before the layer, x + DW3x3(x); attention itself does not see positions."""

    released = Released('CPE', names={'cpe': 'conv'})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = Conv2d(dim, dim, 3, groups=dim)

    def features(self, x: Tensor) -> Tensor:
        return x + self.conv(x)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        return {} if 'conv.weight' in layers[0] else None
