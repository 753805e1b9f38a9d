"""The one interface of positional biases."""

from collections.abc import Callable, Iterable

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
        self._cache: _Cache | None = None

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
        """`term()` and `rotation()`, which depend on weights alone: kept while no gradient is asked for.

        They are computed anew when a weight was changed in place, loaded or replaced, after a pass with gradients (an
        optimiser may have followed), and after a change of mode, dtype or device. Only writing into `weight.data` in
        place goes unnoticed; call `eval()` afterwards.
        """
        if torch.compiler.is_compiling():
            return self.term(), self.rotation()
        if self.training or torch.is_grad_enabled() or any(p.is_inference() for p in self.parameters()):
            self._cache = None  # weights that are inference tensors count no versions: no change could be seen
            return self.term(), self.rotation()
        if self._cache is None or not self._cache.holds(self.parameters()):
            self._cache = _Cache(list(self.parameters()), (self.term(), self.rotation()))
        return self._cache.tables

    def train(self, mode: bool = True) -> 'PositionalBias':
        self._cache = None
        return super().train(mode)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'PositionalBias':
        self._cache = None  # half(), to(device) and the like
        return super()._apply(fn, recurse)


class _Cache:
    """Tables, and the weights they came from: kept alive, so that a new weight cannot have an old one's address."""

    def __init__(self, weights: list[Tensor], tables: tuple[Term | None, Rotation | None]) -> None:
        self.weights = [weight.detach() for weight in weights]
        self.versions = [weight._version for weight in weights]
        self.tables = tables

    def holds(self, weights: Iterable[Tensor]) -> bool:
        return all(
            weight.data_ptr() == old.data_ptr() and weight._version == version and weight.dtype == old.dtype
            for weight, old, version in zip(weights, self.weights, self.versions, strict=True)
        )


def window_coordinates(window: int, device: torch.device) -> Tensor:
    """Centres of a window's pixels, (N, 2) with x first, in (-1, 1): 2 (x + 0.5) / w - 1."""
    axis = 2 * (torch.arange(window, device=device, dtype=torch.float32) + 0.5) / window - 1
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), dim=-1)
