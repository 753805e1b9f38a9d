import random
import time
from dataclasses import replace

import pytest
import torch

from sst.ops.backends import fused
from sst.ops.kernels.configurations import Configuration
from tuning import measuring, report
from tuning.compiling import Build, Layer, Usage
from tuning.measuring import NO_TIME, TOLERANCE, Trial, check, race
from tuning.sweep import Result, error_of, measure

DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
A, B, C = (Configuration(block, 32) for block in (16, 32, 64))
BUILD = Build('forward', 'float16', Layer(30, 18, 8, 2), 90)
LATER = float('inf')


def nothing():
    pass


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize('rank', [0, 18])
@pytest.mark.parametrize('kernel', ['forward', 'query', 'key'])
def test_the_error_of_a_right_kernel_is_small_in_any_configuration(kernel, rank):
    errors = error_of(replace(BUILD, kernel=kernel, part=Layer(30, rank, 8, 2)), DEVICE)
    for configuration in (A, B, Configuration(64, 64, num_warps=8)):
        assert 0 < errors(configuration) <= TOLERANCE['float16']


@pytest.mark.parametrize('kernel', ['forward', 'query', 'key'])
def test_a_wrong_kernel_is_found(kernel, monkeypatch):
    build = replace(BUILD, kernel=kernel)
    errors = error_of(build, DEVICE)
    monkeypatch.setattr(measuring.Sample, 'computed', lambda sample, _: [t * 1.1 for t in sample.reference()])
    trial = Trial(A)
    check([trial], errors, TOLERANCE['float16'], LATER, nothing)
    assert trial.excluded == 'WRONG'
    assert trial.error == pytest.approx(0.1, rel=0.05)


def test_what_is_wrong_or_fails_is_excluded_with_its_reason():
    def error(configuration):
        if configuration == C:
            raise RuntimeError('out of resource')
        return {A: 1e-4, B: float('nan')}[configuration]

    trials = [Trial(A), Trial(B), Trial(C)]
    check(trials, error, 2e-3, LATER, nothing)
    assert [trial.excluded for trial in trials] == ['', 'WRONG', 'failed: out of resource']
    late = Trial(A)
    check([late], error, 2e-3, time.monotonic() - 1, nothing)
    assert late.excluded == NO_TIME


def test_the_race_drops_the_slow_but_not_the_table():
    seconds, runs = {A: 3.0, B: 1.0, C: 2.0}, []
    trials = [Trial(A), Trial(B), Trial(C)]

    def clock(configuration):
        runs.append(configuration)
        return seconds[configuration]

    race(trials, clock, A, LATER, random.Random(0))
    assert [trial.seconds for trial in trials] == [3.0, 1.0, 2.0]
    assert (runs.count(A), runs.count(B), runs.count(C)) == (measuring.ROUNDS, measuring.ROUNDS, 1)


def test_a_race_that_ends_early_keeps_what_it_has():
    trials = [Trial(A), Trial(B)]
    race(trials, lambda configuration: 1.0, A, time.monotonic() - 1, random.Random(0))
    assert [trial.seconds for trial in trials] == [None, None]
    result = Result(BUILD, trials)
    assert result.best is None
    assert report.rows([result]) == []
    assert report.as_json(result)['gain'] is None


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize('kernel', ['forward', 'query', 'key'])
def test_what_is_right_is_timed_and_the_fastest_becomes_a_row(kernel, monkeypatch):
    monkeypatch.setattr(measuring, 'PICTURE', (1, 8, 11))
    monkeypatch.setattr(measuring, 'PATCHES', 1)
    monkeypatch.setattr(measuring, 'PATCH', 8)
    trials = [Trial(A), Trial(B, excluded='spills'), Trial(C)]
    times = iter(range(10, 0, -1))

    def stopwatch(call):
        call()
        return next(times) / 1000

    build = replace(BUILD, kernel=kernel)
    measure(build, trials, DEVICE, stopwatch, LATER, random.Random(0), nothing)
    assert trials[1].seconds is None
    result = Result(build, trials)
    assert result.best is min((trials[0], trials[2]), key=lambda trial: trial.seconds)
    trials[0].seconds, trials[2].seconds = 0.003, 0.002
    configuration = 'Configuration(64, 32, num_warps=4, num_stages=2)'
    row = f"Row(('{kernel}',), (torch.float16,), (90, 90), (48, 48), (8, 8), {configuration}, heads=(30, 30)),"
    assert report.rows([result]) == [row]


def test_what_may_not_be_chosen_is_not_the_best_however_fast():
    usage = Usage(100, 0, 1024)
    trials = [Trial(A, usage, 1e-4, 1.0), Trial(B, usage, 0.5, 0.1, 'WRONG'), Trial(C, usage, 1e-4, 0.99)]
    result = Result(BUILD, trials)
    assert result.best is trials[2]
    assert report.rows([result]) == []  # one hundredth is noise
    assert report.faults([result]) == ['forward float16 8 30 18 32x32 w4 s2: WRONG, relative error 5.0e-01']


def test_a_configuration_of_the_table_that_cannot_be_used_is_named():
    result = Result(BUILD, [Trial(A, Usage(255, 64, 1024), excluded='spills'), Trial(B, excluded='spills')])
    assert report.faults([result]) == ['forward float16 8 30 18 16x32 w4 s2 of the table: spills']
