"""Learning rates as closed formulas of the iteration, so that nothing has to be saved to resume them."""

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from sst.options.faults import Fault, refuse, shown
from sst.options.parts import PartOptions
from sst.options.registries import SCHEDULES

Positive = Annotated[int, Field(ge=1)]


def learning_rate(iteration: int, base: float, scheduler: Mapping, warmup: int = -1) -> float:
    """The rate of one optimiser step.

    Args:
        iteration (int): the step, counted from 1.
        base (float): the optimiser's rate.
        scheduler (Mapping): `train.scheduler`: the `type` of a registered schedule, and its options.
        warmup (int): the rate grows linearly and reaches its full value at this iteration; -1 or 0 for none.

    Raises:
        KeyError: there is no such schedule.
    """
    rate = SCHEDULES.build(scheduler).rate(iteration, base)
    return rate * min(1.0, iteration / warmup) if warmup > 0 else rate


@SCHEDULES.register('MultiStepLR', 'MultiStepRestartLR')
class MultiStep(PartOptions):
    """The learning rate falls by a factor at each milestone."""

    milestones: list[Positive] = Field(description='iterations at which the rate falls, increasing')
    gamma: float = Field(default=0.1, gt=0, description='factor at each milestone')

    @model_validator(mode='after')
    def _increasing(self) -> Self:
        if any(after <= before for before, after in pairwise(self.milestones)):
            refuse([(('milestones',), f'must be increasing iterations, not {shown(self.milestones)}')])
        return self

    def rate(self, iteration: int, base: float) -> float:
        """The rate of a step, counted from 1: those after a milestone have one multiplied by gamma."""
        return base * self.gamma ** bisect_left(self.milestones, iteration)


@SCHEDULES.register('CosineAnnealingRestartLR')
class Cosine(PartOptions):
    """The learning rate falls as half a cosine, once per period."""

    periods: list[Positive] = Field(min_length=1, description='iterations of each period; together total_iter or more')
    restart_weights: list[float] = Field(default=[1.0], description='factor of the rate in each period')
    eta_min: float = Field(default=0.0, ge=0, description='rate at the end of a period')

    @model_validator(mode='after')
    def _lengths(self) -> Self:
        periods, weights = self.periods, self.restart_weights
        if len(periods) != len(weights):
            text = f'{shown(weights)} has {len(weights)} entries; give one for each of periods {shown(periods)}'
            refuse([(('restart_weights',), text)])
        return self

    def faults(self, total_iter: int) -> list[Fault]:
        """What is wrong with this schedule in a run of so many iterations."""
        if sum(self.periods) >= total_iter:
            return []
        return [(('periods',), f'must reach total_iter {total_iter} together, not {shown(self.periods)}')]

    def rate(self, iteration: int, base: float) -> float:
        """From the weighted base rate down to eta_min in each period; the step is counted from 1."""
        steps, ends = iteration - 1, list(accumulate(self.periods))
        index = min(bisect_left(ends, steps), len(ends) - 1)
        position = min((steps - (ends[index] - self.periods[index])) / self.periods[index], 1.0)
        height = self.restart_weights[index] * 0.5 * (base - self.eta_min)
        return self.eta_min + height * (1 + math.cos(math.pi * position))
