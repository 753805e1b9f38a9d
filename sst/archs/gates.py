"""Gates on the output of attention, registered in GATES, from maps (B, H, W, C) to maps of the same shape."""

from collections.abc import Mapping

from torch import Tensor, nn

from sst.archs.bias.base import Released
from sst.archs.layers import Conv2d
from sst.ops import norm_linear
from sst.options.registries import GATES


@GATES.register()
class CLA(nn.Module):
    """The gate of convolutional local attention, sigmoid(PW(DW3x3(x))) (Eq. 9)."""

    released = Released('DWC', names={'attn.gate.0': 'depthwise', 'attn.gate.1': 'pointwise'})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = Conv2d(dim, dim, 3, groups=dim)
        self.pointwise = nn.Linear(dim, dim)
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        return norm_linear(self.depthwise(x), None, self.pointwise, 'sigmoid', fused=self.fused)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict | None:
        """Infer the options from the shapes of a gate's parameters; None if they are not of this gate."""
        return {} if 'depthwise.weight' in state else None


@GATES.register('pointwise')
class PointwiseGate(nn.Module):
    """The gate without its convolution, sigmoid(PW(x)) (ablation)."""

    released = Released('Linear', names={'attn.gate.0': 'pointwise'})

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.pointwise = nn.Linear(dim, dim)
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        return norm_linear(x, None, self.pointwise, 'sigmoid', fused=self.fused)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict | None:
        """As `CLA.recognise`."""
        return {} if state.keys() == {'pointwise.weight', 'pointwise.bias'} else None


@GATES.register('none')
class NoGate(nn.Module):
    """No gate."""

    released = Released(None)

    def forward(self, x: Tensor) -> None:
        """Return None: the attention is not multiplied."""
        return
