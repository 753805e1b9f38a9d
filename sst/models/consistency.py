"""The levels of consistency training, between the HR image and the enlarged LR image plus noise.

Level 0 is the HR image, the last level is the enlarged LR image with the full noise. The number of levels follows from
the iteration, and the level and the noise of a sample from the seed and its place in the stream, so that a run resumes
exactly.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sst.archs.sstreal_start import SIGMA
from sst.data.stream import LAYERS, NOISE, STEP, mixed_seed


class Level(NamedTuple):
    """alpha: the share of the enlarged LR image; sigma: the standard deviation of the noise."""

    alpha: float
    sigma: float


def levels_at(iteration: int, options: Mapping[str, Any], total_iter: int) -> int:
    """n, how many levels there are: max(s0 - floor(t / floor(T / (s0 - s1 + 1))), s1) + 1.

    Args:
        iteration (int): t, the step, counted from 1.
        options (Mapping): `train.consistency`: s0 is `start_steps`, s1 `end_steps`, T `length`. If s0 is less than s1,
            the number grows in the same way.
        total_iter (int): T if `length` is None.
    """
    first, last = options['start_steps'], options['end_steps']
    span = max((options['length'] or total_iter) // (abs(first - last) + 1), 1)
    passed = min(iteration // span, abs(first - last))
    return (first - passed if first > last else first + passed) + 1


def level(index: int, count: int, options: Mapping[str, Any]) -> Level:
    """Level `index` of `count`: (a^(1/rho) + index / (count - 1) (b^(1/rho) - a^(1/rho)))^rho.

    alpha goes from a = 0 to b = 1 with `residual_rho`, sigma from `sigma_min` to 1 with `noise_rho`.
    """
    share = index / (count - 1)

    def between(low: float, high: float, rho: float) -> float:
        return (low ** (1 / rho) + share * (high ** (1 / rho) - low ** (1 / rho))) ** rho

    alpha = between(0.0, 1.0, options['residual_rho'])
    return Level(alpha, between(options['sigma_min'], SIGMA, options['noise_rho']))


def levels(indices: Sequence[int], count: int, options: Mapping[str, Any]) -> Tensor:
    """Levels `indices` of `count` as rows alpha, sigma: (B, 2), float32 on the CPU; see `level`."""
    return torch.tensor([level(index, count, options) for index in indices], dtype=torch.float32)


def at_levels(places: Tensor, gt: Tensor, enlarged: Tensor, noise: Tensor) -> Tensor:
    """x = gt + alpha (enlarged - gt) + sigma noise, where each sample has its own level.

    Args:
        places (Tensor): (B, 2), rows alpha, sigma.
        gt, enlarged, noise (Tensor): (B, 3, 4H, 4W), images RGB in [-1, 1].
    """
    alpha, sigma = places.to(gt).view(-1, 2, 1, 1, 1).unbind(1)
    return gt + alpha * (enlarged - gt) + sigma * noise


def drawn_level(seed: int, position: int, count: int) -> int:
    """j, from 0 to count - 2, of the sample at a place in the stream: its step is from level j + 1 to level j."""
    # RandomState: numpy promises its numbers never to change
    return int(np.random.RandomState(np.random.MT19937(mixed_seed(seed, position, STEP))).randint(count - 1))


def sample_noise(seed: int, positions: list[int], shape: tuple[int, ...]) -> Tensor:
    """Normal noise (B, *shape), float32 on the CPU: each sample's follows from the seed and its place in the stream."""
    drawn = []
    for position in positions:
        generator = torch.Generator().manual_seed(_number(seed, position, NOISE))
        drawn.append(torch.randn(shape, generator=generator))
    return torch.stack(drawn)


def layer_seed(seed: int, iteration: int, rank: int) -> int:
    """The seed of what layers draw themselves in a step, such as dropout, in process `rank`."""
    return _number(seed, iteration * 2**16 + rank, LAYERS)


def _number(seed: int, number: int, use: int) -> int:
    return int(mixed_seed(seed, number, use).generate_state(1, np.uint64)[0] >> np.uint64(1))
