"""Signals end training in good order: nothing that is trained is lost, and going on gives the same run."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from driver_runs import dataset, latest, training
from runs import scalars

from sst.driver.resume import newest_state
from sst.utils.files import load_torch

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers_return():
    """Whoever handled the signals before handles them afterwards."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


def assert_goes_on_to_the_same_end(start, root, name, data=None):
    assert start(training('whole')) == 0
    assert start(training(name, **(data or {})), '--auto_resume') == 0
    assert torch.equal(latest(root, name), latest(root, 'whole'))


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_saves_the_state_of_the_iteration(start, root, capsys, number):
    name = f'training {number}'
    assert start(training(name)) == 128 + number
    assert '--auto_resume' in capsys.readouterr().err
    states = root / f'experiments/{name}/training_states'
    assert newest_state(states).name == '7.state'
    assert not list((root / 'experiments').glob('.*'))
    assert_goes_on_to_the_same_end(start, root, name)


@pytest.mark.parametrize('data', [{'num_workers': 2}, {'num_workers': 1, 'prefetch_mode': 'cpu'}], ids=str)
def test_whoever_loads(start, root, data):
    assert start(training('training 15', **data)) == 143
    assert newest_state(root / 'experiments/training 15/training_states').name == '7.state'
    assert_goes_on_to_the_same_end(start, root, 'training 15', data)


def test_several_signals_are_one(start, root):
    assert start(training('training 15 10 15')) == 143
    assert newest_state(root / 'experiments/training 15 10 15/training_states').name == '7.state'


def test_a_second_ctrl_c_ends_at_once(start, root):
    assert start(training('training 2 2')) == 130
    assert newest_state(root / 'experiments/training 2 2/training_states').name == '6.state'
    assert_goes_on_to_the_same_end(start, root, 'training 2 2')


def test_while_a_checkpoint_is_written(start, root):
    assert start(training('saving 15')) == 143
    assert newest_state(root / 'experiments/saving 15/training_states').name == '6.state'
    assert_goes_on_to_the_same_end(start, root, 'saving 15')


@pytest.mark.parametrize('number', SIGNALS)
def test_before_training_nothing_is_left(start, root, capsys, number):
    assert start(training(f'preparing {number}')) == 128 + number
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(root.glob('experiments/*'))


def test_what_is_ignored_on_purpose_stays_ignored(start, root):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert start(training('training 1')) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_in_a_thread(start):
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(start, training()).result() == 0


def test_a_validation_is_left_and_done_later(start, root):
    def two_sets(name):
        options = training(name)
        options['datasets']['val_2'] = dataset('Val') | {'name': 'Second'}
        return options

    stopped = 'validating 15'
    assert start(two_sets('whole')) == 0
    assert start(two_sets(stopped)) == 143
    states = root / f'experiments/{stopped}/training_states'
    assert newest_state(states).name == '5.state'
    assert start(two_sets(stopped), '--auto_resume') == 0
    ends = [load_torch(root / f'experiments/{name}/training_states/10.state') for name in ('whole', stopped)]
    assert ends[0]['best_metric_results'] == ends[1]['best_metric_results']
    figures = [scalars(root / f'experiments/{name}', 'metrics/Second/psnr') for name in ('whole', stopped)]
    assert set(figures[0]) == {5, 10}
    assert figures[0] == figures[1]
    assert torch.equal(latest(root, stopped), latest(root, 'whole'))
