"""The geometric self-ensemble, which tables of results mark as "+" or "x8"."""

from collections.abc import Callable
from itertools import product

from torch import Tensor


def self_ensemble(predict: Callable[[Tensor], Tensor], lr: Tensor) -> Tensor:
    """The mean of a network's results for the eight flips and transpositions of an image, each undone again.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C', s * h, s * w), for any h and w.
        lr (Tensor): (B, C, h, w).

    Returns:
        Tensor: (B, C', s * h, s * w).
    """
    total: Tensor | None = None
    for *flips, transposed in product((False, True), repeat=3):
        axes = [axis for axis, flip in zip((-1, -2), flips, strict=True) if flip]
        image = lr.flip(axes)
        sr = predict((image.mT if transposed else image).contiguous())
        sr = (sr.mT if transposed else sr).flip(axes)
        total = sr if total is None else total + sr
    assert total is not None
    return total / 8
