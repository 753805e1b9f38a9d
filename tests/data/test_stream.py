"""The stream's contract: seed and global position decide every sample."""

import logging
import os
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from sst.data.loader import build_train_loader
from sst.data.stream import StreamDataset, StreamSampler, check_batch
from sst.utils.errors import UserError

streams = st.fixed_dictionaries(
    {
        'length': st.integers(1, 23),
        'world': st.integers(1, 4),
        'per_rank': st.integers(1, 5),
        'seed': st.integers(-(2**40), 2**70),
        'total_iter': st.integers(0, 12),
    }
)


class Noise(Dataset):
    """A sample that shows its index and a draw of every generator."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return {'index': index, 'python': random.random(), 'numpy': np.random.rand(3), 'torch': torch.rand(3)}


def places(kind, rank=0, world=None, start=0):
    world = world or kind['world']
    return list(
        StreamSampler(
            kind['length'], kind['per_rank'] * kind['world'], kind['seed'], rank, world, start, kind['total_iter']
        )
    )


@given(streams)
def test_processes_share_the_stream_of_one(kind):
    one = places(kind, world=1)
    ranks = [places(kind, rank) for rank in range(kind['world'])]
    assert [place for group in zip(*ranks, strict=True) for place in group] == one
    assert [position for position, _ in one] == list(range(kind['total_iter'] * kind['per_rank'] * kind['world']))


@given(streams, st.data())
def test_resume_is_a_suffix(kind, data):
    start = data.draw(st.integers(0, kind['total_iter']))
    rank = data.draw(st.integers(0, kind['world'] - 1))
    assert places(kind, rank, start=start) == places(kind, rank)[start * kind['per_rank'] :]


@given(streams)
def test_each_epoch_is_a_permutation(kind):
    indices = [index for _, index in places(kind, world=1)]
    for begin in range(0, len(indices) - kind['length'] + 1, kind['length']):
        assert sorted(indices[begin : begin + kind['length']]) == list(range(kind['length']))


def test_epochs_and_seeds_differ():
    def first_epochs(seed):
        indices = [index for _, index in StreamSampler(50, 10, seed, total_iter=10)]
        return indices[:50], indices[50:]

    (a, b), (c, _) = first_epochs(0), first_epochs(1)
    assert a != b
    assert a != c


def test_length_counts_the_samples():
    sampler = StreamSampler(5, 6, 0, rank=1, world=2, start_iter=3, total_iter=7)
    assert len(sampler) == len(list(sampler)) == 12


@given(st.integers(0, 2**40), st.integers(0, 2**40))
@settings(max_examples=20)
def test_randomness_depends_on_seed_and_position(seed, position):
    data = StreamDataset(Noise(), seed)
    torch.manual_seed(position + 1)
    first = data[(position, 0)]
    torch.manual_seed(3)
    random.seed(8)
    again, other = data[(position, 0)], data[(position + 1, 0)]
    for draw in ('python', 'numpy', 'torch'):
        assert np.array_equal(first[draw], again[draw])
        assert not np.array_equal(first[draw], other[draw])


def loaded(workers, context=None, queue=0, **where):
    loader = build_train_loader(
        Noise(),
        total_batch=4,
        seed=5,
        start_iter=where.pop('start_iter', 0),
        total_iter=6,
        num_workers=workers,
        context=context,
        queue=queue,
        **where,
    )
    iter(loader)  # as BasicSR's prefetcher does
    return list(loader)


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        for key in batch:
            assert torch.equal(batch[key], other[key])


@pytest.mark.parametrize(
    ('workers', 'context', 'queue'),
    [(1, None, 0), (2, None, 0), (2, 'spawn', 0), (2, None, 3)],
    ids=['1 worker', '2 workers', '2 spawned workers', '2 workers and a thread'],
)
def test_workers_change_nothing(workers, context, queue):
    assert_same(loaded(workers, context, queue), loaded(0))


def test_resumed_batches_equal_the_rest():
    assert_same(loaded(0, start_iter=4), loaded(0)[4:])


def test_ranks_together_hold_the_global_batch():
    one, ranks = loaded(0), [loaded(0, rank=rank, world=2) for rank in range(2)]
    for step, batch in enumerate(one):
        both = torch.stack([ranks[rank][step]['torch'] for rank in range(2)], dim=1).flatten(0, 1)
        assert torch.equal(both, batch['torch'])


@pytest.mark.parametrize('workers', [0, 1])
def test_the_process_s_random_state_is_untouched(workers):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    loaded(workers)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


def test_iter_starts_nothing():
    asked = []
    loader = build_train_loader(Noise(), total_batch=2, seed=0, start_iter=0, total_iter=3, on_request=asked.append)
    iter(loader)
    second = iter(loader)
    assert asked == []
    next(second)
    assert asked == [0]
    assert len(list(second)) == 2
    assert asked == [0, 1, 2, 3]


class Broken(Noise):
    paths = tuple({'gt_path': f'{name}.png'} for name in range(7))

    def __getitem__(self, index):
        if index == 3:
            raise ValueError('LQ (8, 8) is smaller than patch size (64, 64).')
        return super().__getitem__(index)


@pytest.mark.parametrize(('workers', 'queue'), [(0, 0), (1, 0), (1, 2)], ids=['0 workers', '1 worker', 'a thread'])
def test_an_unusable_picture_is_one_line(workers, queue):
    loader = build_train_loader(
        Broken(), total_batch=7, seed=0, start_iter=0, total_iter=2, num_workers=workers, queue=queue
    )
    with pytest.raises(UserError, match=r'^training picture 3\.png cannot be used: LQ \(8, 8\) is smaller[^\n]*$'):
        list(loader)


@pytest.mark.parametrize(
    ('total', 'world', 'accumulate', 'says'),
    [
        (32, 3, 1, r'32 .* 3 \(3 processes\); take 30 or 33'),
        (2, 4, 1, r'2 .* 4 \(4 processes\); take 4'),
        (8, 2, 3, r'8 .* 6 \(2 processes x train.accumulate 3\); take 6 or 12'),
    ],
    ids=['32 over 3', '2 over 4', '8 over 2 in 3 parts'],
)
def test_a_batch_that_does_not_divide_is_refused(total, world, accumulate, says):
    with pytest.raises(UserError, match=says):
        check_batch(total, world, accumulate)


def test_no_picture_is_refused():
    with pytest.raises(UserError, match='at least one picture'):
        StreamSampler(0, 4, 0)


@pytest.mark.parametrize('workers', [2, 200])
def test_no_more_workers_than_cores(monkeypatch, caplog, workers):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1})
    caplog.set_level(logging.INFO, logger='basicsr')
    monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # torch's, of more workers than cores
        loader = build_train_loader(Noise(), total_batch=4, seed=0, start_iter=0, total_iter=3, num_workers=workers)
    assert len(list(loader)) == 3
    told = {record.getMessage() for record in caplog.records}
    assert len(told) == (workers > 2)
    assert all('200' in text and '2 cores' in text for text in told)
