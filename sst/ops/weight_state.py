"""Notices changes of weights, for results that are kept because they depend on weights alone."""

from collections.abc import Sequence

from torch import Tensor


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


def _describe(weights: Sequence[Tensor]) -> list[tuple]:
    # Weights made in inference mode have no versions. They count as changed always: a new object equals no other.
    return [(w.data_ptr(), w.dtype, object() if w.is_inference() else w._version) for w in weights]
