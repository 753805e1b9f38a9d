"""Learning rates as closed formulas of the iteration, so that nothing has to be saved to resume them."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate


def learning_rate(iteration: int, base: float, scheduler: Mapping, warmup: int = -1) -> float:
    """The rate of one optimiser step.

    Args:
        iteration (int): the step, counted from 1.
        base (float): the optimiser's rate.
        scheduler (Mapping): `train.scheduler`: MultiStepLR (`milestones`, `gamma`: iterations after a milestone have a
            rate multiplied by gamma) or CosineAnnealingRestartLR (`periods`, `restart_weights`, `eta_min`).
        warmup (int): the rate grows linearly and reaches its full value at this iteration; -1 or 0 for none.

    Raises:
        ValueError: for another scheduler type.
    """
    match scheduler['type']:
        case 'MultiStepLR' | 'MultiStepRestartLR':
            rate = base * scheduler.get('gamma', 0.1) ** bisect_left(scheduler['milestones'], iteration)
        case 'CosineAnnealingRestartLR':
            rate = _cosine(iteration - 1, base, scheduler)
        case other:
            raise ValueError(f'unknown scheduler {other!r}')
    return rate * min(1.0, iteration / warmup) if warmup > 0 else rate


def _cosine(steps: int, base: float, scheduler: Mapping) -> float:
    """From the weighted base rate down to eta_min in each period, after `steps` finished steps."""
    ends = list(accumulate(scheduler['periods']))
    index = min(bisect_left(ends, steps), len(ends) - 1)
    position = min((steps - (ends[index] - scheduler['periods'][index])) / scheduler['periods'][index], 1.0)
    weight, eta_min = scheduler.get('restart_weights', [1] * len(ends))[index], scheduler.get('eta_min', 0)
    return eta_min + weight * 0.5 * (base - eta_min) * (1 + math.cos(math.pi * position))
