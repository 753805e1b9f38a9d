"""The section `train`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sst.options.consistency import Consistency
from sst.options.faults import Fault, refuse
from sst.options.parts import part_of
from sst.options.registries import LOSSES, OPTIMISERS, SCHEDULES
from sst.options.section import Section

Loss = Annotated[Any, part_of(LOSSES)]
LossOrNull = Annotated[Any, part_of(LOSSES, nullable=True)]


class Spikes(Section):
    """Going back to the last state, with another order of data, when the loss leaps."""

    factor: float = Field(default=4.0, gt=1, description='a logged loss above this many times the median is a leap')
    window: int = Field(default=20, ge=5, le=10_000, description='logged losses of which the median is taken')
    most: int = Field(default=3, ge=1, description='times that a run goes back; at the next leap it ends')


class Train(Section):
    """How the network is trained."""

    total_iter: int = Field(ge=1, description='iterations of the run; one is one step of the optimiser')
    warmup_iter: int = Field(default=-1, ge=-1, description='iterations of linear warm-up; -1 for none')
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description='decay of the averaged weights; 0 for none')
    optim_g: Annotated[Any, part_of(OPTIMISERS)] = Field(description='the optimiser')
    scheduler: Annotated[Any, part_of(SCHEDULES)] = Field(description='course of the learning rate')
    losses: list[Loss] = Field(default=[], description='losses, which are added; the log calls each l_ and its type')
    pixel_opt: LossOrNull = Field(default=None, description='one more loss, which the log calls l_pix')
    perceptual_opt: LossOrNull = Field(default=None, description='one more loss, which the log calls l_percep')
    consistency: Consistency | None = Field(
        default=None, description='how a network that starts from noise is trained; null for all others'
    )
    amp: Literal['bf16', 'fp16'] | None = Field(
        default=None, description='automatic mixed precision: bf16, fp16 or null'
    )
    compile: bool = Field(default=False, description='compile the network with torch.compile')
    fused_layers: bool = Field(
        default=False,
        description='whether a Triton kernel with gradients computes the depthwise step of ConvFFN in training',
    )
    recompute: bool = Field(
        default=False,
        description="keep only each layer's input for the backward pass: less memory, more time; our networks only",
    )
    accumulate: int = Field(
        default=1, ge=1, description="parts that a process's batch is cut into; one step for all of them"
    )
    grad_clip: float | None = Field(default=None, gt=0, description='largest norm of the gradient; null does not clip')
    max_bad_steps: int = Field(
        default=10,
        ge=1,
        description='steps in a row that are left out because loss or gradient is not finite; then the run ends',
    )
    spikes: Spikes | None = Field(
        default=None, description='go back to the last state when the loss leaps; {} takes the defaults, null never'
    )

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        faults: list[Fault] = []
        if not self.losses and self.pixel_opt is None and self.perceptual_opt is None:
            faults.append((('losses',), 'must name a loss, because pixel_opt and perceptual_opt are null'))
        if hasattr(self.scheduler, 'faults'):
            found = self.scheduler.faults(self.total_iter)
            faults += [(('scheduler', *place), text) for place, text in found]
        refuse(faults)
        return self
