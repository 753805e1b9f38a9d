"""One endless stream of training samples.

Global position p, counted from 0 over the whole run, decides everything: which picture it is (a permutation of all
pictures per epoch, from seed and epoch) and how it is cropped and turned (random numbers from seed and p). Iteration i,
counted from 1, is made of the positions (i - 1) * total_batch ... i * total_batch - 1. So a resumed run goes on where
it stopped, without any saved worker state, and the number of processes or workers changes nothing.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from sst.utils.errors import UserError

ORDER, SAMPLE, STEP, NOISE, LAYERS = range(5)  # keep the uses of one seed apart; the last three are the model's


class StreamSampler(Sampler[tuple[int, int]]):
    """Yields (global position, picture index) for iterations `start_iter` + 1 to `total_iter`.

    Args:
        length: number of pictures, at least 1.
        total_batch: pictures per iteration over all processes, a multiple of `world`.
        seed: any integer.
        rank, world: this process takes every `world`-th position of each batch, from `rank`.
        start_iter: iterations that are done already.
        total_iter: the last iteration.
    """

    def __init__(
        self,
        length: int,
        total_batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start_iter: int = 0,
        total_iter: int = 1,
    ) -> None:
        if length < 1:
            raise UserError('a training stream needs at least one picture')
        check_batch(total_batch, world)
        self.length, self.total_batch, self.seed = length, total_batch, seed
        self.rank, self.world = rank, world
        self.start_iter, self.total_iter = start_iter, total_iter

    def __len__(self) -> int:
        return max(self.total_iter - self.start_iter, 0) * (self.total_batch // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for iteration in range(self.start_iter, self.total_iter):
            for place in range(self.rank, self.total_batch, self.world):
                position = iteration * self.total_batch + place
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = epoch_order(self.length, self.seed, epoch)
                yield position, int(order[position % self.length])


def epoch_order(length: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of `range(length)` in which epoch `epoch` shows the pictures."""
    # RandomState: numpy promises its numbers never to change, a Generator's may.
    return np.random.RandomState(np.random.MT19937(mixed_seed(seed, epoch, ORDER))).permutation(length)


class StreamDataset(Dataset):
    """Gives `dataset[index]` for (position, index), its random numbers drawn from (seed, position) alone."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> Any:
        position, index = place
        with seeded(self.seed, position):
            return self.dataset[index]


@contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """Random numbers of Python, numpy and torch's CPU from (seed, position); the caller's states return afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = mixed_seed(seed, position, SAMPLE).generate_state(8)
    random.seed(int.from_bytes(words[:4].tobytes(), 'little'))
    np.random.seed(words[4:6])
    torch.default_generator.manual_seed(int.from_bytes(words[6:8].tobytes(), 'little'))  # leaves the GPU's alone
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def order_seed(seed: int, returns: int) -> int:
    """The seed of a stream after a run has gone back `returns` times: each time another order and other crops.

    Args:
        seed: the run's, below 2**32.
    """
    return seed + returns * 2**32


def check_batch(total_batch: int, world: int, accumulate: int = 1) -> None:
    """Raise `UserError` unless the total batch divides evenly over processes and accumulated parts."""
    parts = world * accumulate
    if total_batch < 1 or total_batch % parts:
        lower = total_batch // parts * parts
        fitting = f'{lower} or {lower + parts}' if lower > 0 else f'{parts}'
        split = f'{world} processes' + (f' x train.accumulate {accumulate}' if accumulate > 1 else '')
        raise UserError(
            f'datasets.train.batch_size: {total_batch} (the total) does not divide by {parts} ({split}); '
            f'take {fitting}: --force_yml datasets:train:batch_size={fitting.split()[-1]}'
        )


def mixed_seed(seed: int, number: int, use: int) -> np.random.SeedSequence:
    """What one use of the run's seed draws from, at a position or an iteration."""
    return np.random.SeedSequence([seed % 2**64, number], spawn_key=(use,))
