"""The geometric self-ensemble, "+" or "x8" in the tables of the field."""

from collections.abc import Callable
from itertools import product

from torch import Tensor


def self_ensemble(predict: Callable[[Tensor], Tensor], lr: Tensor) -> Tensor:
    """The mean of a network's answers to the eight flips and transpositions of a picture, each turned back.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C', s * h, s * w), for any h and w.
        lr (Tensor): (B, C, h, w).

    Returns:
        Tensor: (B, C', s * h, s * w).
    """
    answers = (_turned_back(predict(_turned(lr, way)), way) for way in product((False, True), repeat=3))
    total = next(answers)
    for answer in answers:
        total = total + answer
    return total / 8


def _turned(picture: Tensor, way: tuple[bool, ...]) -> Tensor:
    *flips, transposed = way
    picture = picture.flip(_axes(flips))
    return (picture.transpose(-1, -2) if transposed else picture).contiguous()


def _turned_back(picture: Tensor, way: tuple[bool, ...]) -> Tensor:
    *flips, transposed = way
    return (picture.transpose(-1, -2) if transposed else picture).flip(_axes(flips))


def _axes(flips: list[bool]) -> list[int]:
    return [axis for axis, flip in zip((-1, -2), flips, strict=True) if flip]
