"""The section `train`."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Tag, model_validator

from sst.options.faults import Fault, refuse, shown
from sst.options.registered import call_faults, optimiser, optimiser_faults, perceptual_faults, registered
from sst.options.section import OpenSection, Section, by_type

Positive = Annotated[int, Field(ge=1)]


class Optimiser(OpenSection):
    """An optimiser of torch.optim and its parameters; fused where PyTorch can, unless `fused` or `foreach` is given.

    Muon trains the matrices, AdamW (betas 0.9, 0.99) at the same rate everything else.
    """

    type: Annotated[str, optimiser()] = Field(description='name of a class of torch.optim, as AdamW')
    lr: float = Field(gt=0, description='learning rate after the warm-up')

    @model_validator(mode='after')
    def _callable(self) -> Self:
        refuse(optimiser_faults(self.model_dump()))
        return self


class Loss(OpenSection):
    """A loss that is registered in BasicSR; its other keys are the parameters of its constructor."""

    type: Annotated[str, registered('LOSS')] = Field(
        description='name of a loss that is registered in BasicSR, as L1Loss'
    )

    @model_validator(mode='after')
    def _callable(self) -> Self:
        section: dict[str, Any] = self.model_dump()
        faults = call_faults('LOSS', section)
        if not faults and self.type == 'PerceptualLoss':
            faults += perceptual_faults(section)
        if not faults and section.get('reduction', 'mean') not in ('mean', 'sum'):
            faults.append((('reduction',), f'{shown(section["reduction"])}, allowed: mean, sum'))
        refuse(faults)
        return self


class MultiStep(Section):
    """The learning rate falls by a factor at each milestone."""

    type: Literal['MultiStepLR', 'MultiStepRestartLR'] = Field(description='steps')
    milestones: list[Positive] = Field(description='iterations at which the rate falls, increasing')
    gamma: float = Field(default=0.5, gt=0, description='factor at each milestone')

    @model_validator(mode='after')
    def _increasing(self) -> Self:
        if any(after <= before for before, after in pairwise(self.milestones)):
            refuse([(('milestones',), f'{shown(self.milestones)}, allowed are increasing iterations')])
        return self


class Cosine(Section):
    """The learning rate falls as half a cosine, once per period."""

    type: Literal['CosineAnnealingRestartLR'] = Field(description='cosine')
    periods: list[Positive] = Field(min_length=1, description='iterations of each period; together total_iter or more')
    restart_weights: list[float] = Field(default=[1.0], description='factor of the rate in each period')
    eta_min: float = Field(default=0.0, ge=0, description='rate at the end of a period')

    @model_validator(mode='after')
    def _lengths(self) -> Self:
        periods, weights = self.periods, self.restart_weights
        if len(periods) != len(weights):
            text = f'{shown(weights)} has {len(weights)} entries, allowed is one for each of periods {shown(periods)}'
            refuse([(('restart_weights',), text)])
        return self


Scheduler = Annotated[
    Annotated[MultiStep, Tag('<MultiStepLR>')]
    | Annotated[MultiStep, Tag('<MultiStepRestartLR>')]
    | Annotated[Cosine, Tag('<CosineAnnealingRestartLR>')],
    by_type(),
]


class Train(Section):
    """How the network is trained."""

    total_iter: int = Field(ge=1, description='iterations of the run; one is one step of the optimiser')
    warmup_iter: int = Field(default=-1, ge=-1, description='iterations of linear warm-up; -1 is none')
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description='decay of the averaged weights; 0 is none')
    optim_g: Optimiser = Field(description='the optimiser')
    scheduler: Scheduler = Field(description='course of the learning rate')
    pixel_opt: Loss | None = Field(default=None, description='loss on pixels')
    perceptual_opt: Loss | None = Field(default=None, description="loss on VGG features, as BasicSR's PerceptualLoss")
    amp: Literal['bf16', 'fp16'] | None = Field(
        default=None, description='automatic mixed precision: bf16, fp16 or null'
    )
    compile: bool = Field(default=False, description='compile the network with torch.compile')
    recompute: bool = Field(
        default=False, description="keep a layer's input alone for the backward pass: less memory, more time; SST only"
    )
    accumulate: int = Field(
        default=1, ge=1, description="parts that a process's batch is cut into; one step for all of them"
    )
    grad_clip: float | None = Field(default=None, gt=0, description='largest norm of the gradient; null does not clip')

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        faults: list[Fault] = []
        if self.pixel_opt is None and self.perceptual_opt is None:
            faults.append((('pixel_opt',), 'null, allowed is a loss, as perceptual_opt is null too'))
        if isinstance(self.scheduler, Cosine) and sum(self.scheduler.periods) < self.total_iter:
            text = (
                f'{shown(self.scheduler.periods)}, allowed are periods that reach total_iter {self.total_iter} together'
            )
            faults.append((('scheduler', 'periods'), text))
        refuse(faults)
        return self
