"""The one interface of positional biases."""

import torch
from torch import Tensor, nn

from sst.ops import Rotation, Term


class PositionalBias(nn.Module):
    """How a layer's attention learns where its tokens are. The default does nothing at all.

    A bias may act on the features, on q and k, or on the logits; a subclass overrides what it does. One object serves
    one layer: it knows the window and the heads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cache: tuple[object, tuple[Term | None, Rotation | None]] | None = None

    def features(self, x: Tensor) -> Tensor:
        """Act on the layer's input, a map (B, H, W, C), before its first LayerNorm."""
        return x

    def rotation(self) -> Rotation | None:
        """Act on q and k."""
        return None

    def term(self) -> Term | None:
        """Act on the logits."""
        return None

    def tables(self) -> tuple[Term | None, Rotation | None]:
        """`term()` and `rotation()`, which depend on weights alone: kept outside training until a weight, its dtype
        or device, or the mode changes."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.term(), self.rotation()
        if any(p.is_inference() for p in self.parameters()):  # these count no versions, a change could not be seen
            return self.term(), self.rotation()
        key = [(p.data_ptr(), p._version, p.dtype, p.device) for p in self.parameters()]
        if self._cache is None or self._cache[0] != key:
            self._cache = (key, (self.term(), self.rotation()))
        return self._cache[1]

    def train(self, mode: bool = True) -> 'PositionalBias':
        self._cache = None
        return super().train(mode)


def window_coordinates(window: int, device: torch.device) -> Tensor:
    """Centres of a window's pixels, (N, 2) with x first, in (-1, 1): 2 (x + 0.5) / w - 1."""
    axis = 2 * (torch.arange(window, device=device, dtype=torch.float32) + 0.5) / window - 1
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), dim=-1)
