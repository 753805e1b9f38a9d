"""The option section `degradation` of a dataset; its defaults are those of Real-ESRGAN (arXiv 2107.10833)."""

import math
from typing import Annotated

from pydantic import AfterValidator, Field

from sst.options.faults import fault, shown
from sst.options.section import Section


def _ordered(limits: list[float]) -> list[float]:
    if limits[0] > limits[1]:
        raise fault(f'must have the smaller number first: {shown(limits[::-1])}, not {shown(limits)}')
    return limits


def _around_one(limits: list[float]) -> list[float]:
    if not limits[0] <= 1 <= limits[1]:
        raise fault(f'must be a factor of at most 1 and one of at least 1, such as [0.5, 1.5], not {shown(limits)}')
    return limits


def _shares(shares: list[float]) -> list[float]:
    if not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise fault(f'must be three probabilities whose sum is 1, such as [0.2, 0.7, 0.1], not {shown(shares)}')
    return shares


Probability = Annotated[float, Field(ge=0, le=1)]
TWO = Field(min_length=2, max_length=2)
Sigmas = Annotated[list[Annotated[float, Field(gt=0, le=100)]], TWO, AfterValidator(_ordered)]
Factors = Annotated[list[Annotated[float, Field(gt=0, le=8)]], TWO, AfterValidator(_around_one)]
GreyLevels = Annotated[list[Annotated[float, Field(ge=0, le=255)]], TWO, AfterValidator(_ordered)]
Strengths = Annotated[list[Annotated[float, Field(ge=0, le=100)]], TWO, AfterValidator(_ordered)]
Qualities = Annotated[list[Annotated[int, Field(ge=1, le=100)]], TWO, AfterValidator(_ordered)]
Shares = Annotated[list[Probability], Field(min_length=3, max_length=3), AfterValidator(_shares)]


class Round(Section):
    """The first round: blur, resizing, noise, JPEG. Each range is [lowest, highest]; each draw lies evenly in it."""

    blur_prob: Probability = Field(default=1.0, description='how often the picture is blurred')
    blur_sigma: Sigmas = Field(default=[0.2, 3.0], description="range of the blur's standard deviation in pixels")
    sinc_prob: Probability = Field(default=0.1, description='how often a blur is a low-pass filter, which rings')
    resize_prob: Shares = Field(
        default=[0.2, 0.7, 0.1], description='how often the picture is enlarged, shrunk and kept; together 1'
    )
    resize_range: Factors = Field(default=[0.15, 1.5], description='smallest and largest factor of resizing')
    noise_prob: Probability = Field(default=1.0, description='how often noise is added')
    gaussian_noise_prob: Probability = Field(default=0.5, description='how often noise is Gaussian; else it is Poisson')
    noise_range: GreyLevels = Field(
        default=[1.0, 30.0], description='range of the standard deviation of Gaussian noise, in grey levels of 255'
    )
    poisson_scale_range: Strengths = Field(default=[0.05, 3.0], description='range of the factor of Poisson noise')
    gray_noise_prob: Probability = Field(default=0.4, description='how often noise is the same in all channels')
    jpeg_prob: Probability = Field(default=1.0, description='how often the picture is compressed')
    jpeg_range: Qualities = Field(default=[30, 95], description="range of JPEG's quality, 1 to 100")


class SecondRound(Round):
    """The second round, whose resizing is relative to the size of LR; at its end the picture gets just that size."""

    blur_prob: Probability = Field(default=0.8, description='how often the picture is blurred')
    blur_sigma: Sigmas = Field(default=[0.2, 1.5], description="range of the blur's standard deviation in pixels")
    resize_prob: Shares = Field(
        default=[0.3, 0.4, 0.3], description='how often the picture is enlarged, shrunk and kept; together 1'
    )
    resize_range: Factors = Field(default=[0.3, 1.2], description='smallest and largest factor of resizing')
    noise_range: GreyLevels = Field(
        default=[1.0, 25.0], description='range of the standard deviation of Gaussian noise, in grey levels of 255'
    )
    poisson_scale_range: Strengths = Field(default=[0.05, 2.5], description='range of the factor of Poisson noise')


class Degradation(Section):
    """How LR is made of HR: two rounds of degradations, by default those of Real-ESRGAN."""

    first: Round = Field(default=Round(), description='the first round, at the size of HR')
    second: SecondRound = Field(default=SecondRound(), description='the second round, about the size of LR')
    final_sinc_prob: Probability = Field(
        default=0.8, description='how often a low-pass filter follows, before or after the last JPEG'
    )
