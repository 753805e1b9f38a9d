"""Notices changes of weights, for results that are kept because they depend on weights alone."""

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar('Result')


class WeightState:
    """Where weights lie in memory, and their versions.

    It keeps the weights alive, so that no new weight can get the address of an old one. It does not notice writing into
    `weight.data` in place, which changes no version.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._kept = [weight.detach() for weight in weights]
        self._state = _describe(weights)

    def holds(self, weights: Sequence[Tensor]) -> bool:
        """Whether these are the same weights, unchanged."""
        return _describe(weights) == self._state


class KeepsResults(nn.Module):
    """A module that keeps a result of its weights alone while no gradients are recorded.

    The result is computed again when a weight was changed in place, loaded or replaced, after a pass with gradients (an
    optimiser may have followed), and after a change of mode, dtype or device. Writing into `weight.data` in place is
    not noticed; call `eval()` afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[WeightState, object] | None = None

    def kept(self, weights: Callable[[], Sequence[Tensor]], compute: Callable[[], Result]) -> Result:
        """`compute()`, or what it returned before; `weights` gives all that it depends on."""
        if torch.compiler.is_compiling():
            return compute()
        if self.training or torch.is_grad_enabled():
            self._kept = None
            return compute()
        read = weights()
        if self._kept is None or not self._kept[0].holds(read):
            self._kept = WeightState(read), compute()
        return self._kept[1]  # type: ignore[return-value]  # of the same `compute`

    def train(self, mode: bool = True) -> Self:
        self._kept = None
        return super().train(mode)

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        self._kept = None  # half(), to(device) and the like
        return super()._apply(fn, recurse)


def _describe(weights: Sequence[Tensor]) -> list[tuple]:
    # Weights made in inference mode have no versions. They count as changed always: a new object equals no other.
    return [(w.data_ptr(), w.dtype, object() if w.is_inference() else w._version) for w in weights]
