"""How far two curves of losses lie apart, and how far they may."""

from collections.abc import Sequence
from typing import Any

import numpy as np

EARLY = 10  # iterations, in which rounding has not grown yet
SMOOTH = 25  # iterations
# The largest differences that are no fault. Measured in the first iterations on the CPU, from sharpened weights too:
# 5e-7 in float32, 1e-2 in bfloat16; a gradient of q that is wrong by 1 %: 2e-4. Later rounding grows: what the nudged
# run shows, times NUDGES, is allowed too.
LIMITS = {'early': 1e-5, 'mean': 1e-2}
HALF_LIMITS = {'early': 5e-2, 'smoothed': 3e-2}
NUDGES = 2  # one nudged run is a sample of what rounding does, not its bound


def relative_differences(losses: Sequence[float] | np.ndarray, reference: Sequence[float] | np.ndarray) -> np.ndarray:
    """|loss - reference| / reference of each iteration."""
    expected = np.asarray(reference)
    return np.abs(np.asarray(losses) - expected) / expected


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Means over SMOOTH iterations, or all if there are less."""
    width = min(SMOOTH, len(losses))
    return np.convolve(losses, np.full(width, 1 / width), mode='valid')


def judge(curves: Sequence[dict[str, Any]]) -> None:
    """Add to each curve how far it lies from the first, the reference, and whether that is too far.

    Added are `early`, `mean`, `max` and `smoothed`, relative differences; `limits`, the largest that some of them may
    be; and `wrong`. The second curve is the reference nudged: it has no limits, and raises those of the others to
    NUDGES times its own differences where rounding does more than the limits allow.
    """
    reference, nudged = curves[0]['losses'], _differences(curves[1]['losses'], curves[0]['losses'])
    for place, curve in enumerate(curves):
        found = _differences(curve['losses'], reference)
        limits = {}
        if place > 1:
            own = HALF_LIMITS if curve['train'].get('amp') else LIMITS
            limits = {name: max(limit, NUDGES * nudged[name]) for name, limit in own.items()}
        wrong = any(not found[name] <= limit for name, limit in limits.items())
        curve.update(found, limits=limits, wrong=wrong)


def _differences(losses: Sequence[float], reference: Sequence[float]) -> dict[str, float]:
    apart = relative_differences(losses, reference)
    return {
        'early': float(apart[:EARLY].max()),
        'mean': float(apart.mean()),
        'max': float(apart.max()),
        'smoothed': float(relative_differences(smoothed(losses), smoothed(reference)).max()),
    }
