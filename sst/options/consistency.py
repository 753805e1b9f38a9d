"""The section `train.consistency`: how a consistency model, SSTReal, is trained."""

from typing import Annotated

from pydantic import Field

from sst.options.section import Section

MOST_STEPS = 1000
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
Exponent = Annotated[float, Field(gt=0, le=100)]


class Consistency(Section):
    """Levels between the HR image and the enlarged LR image plus noise; the defaults are those of SSTReal's release."""

    start_steps: Steps = Field(default=4, description='steps between the levels when the run starts')
    end_steps: Steps = Field(
        default=3, description='steps between the levels at the end; the number changes evenly, by one at a time'
    )
    length: int | None = Field(
        default=None, ge=1, description='iterations over which the number of steps changes; null is total_iter'
    )
    sigma_min: float = Field(
        default=0.0, ge=0, lt=1, description='standard deviation of the noise at the first level; at the last it is 1'
    )
    noise_rho: Exponent = Field(default=1.0, description='the 1/rho-th powers of the standard deviations lie evenly')
    residual_rho: Exponent = Field(
        default=1.0, description='the 1/rho-th powers of the shares of the enlarged LR image lie evenly'
    )
    middle_weight: float = Field(
        default=0.25, ge=0, le=100, description='weight of the losses of the middle output; those of the last have 1'
    )
