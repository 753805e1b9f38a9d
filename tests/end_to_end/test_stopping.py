"""Real runs that get signals, on one process and under torchrun, and lose processes."""

import os
import pty
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from runs import assert_equal_to_the_bit, command, environment, run, weights

LONG = ('train:total_iter=150', 'train:scheduler:periods=[150]', 'val:val_freq=1000')
LONG = ('--force_yml', *LONG, 'logger:save_checkpoint_freq=1000', 'datasets:train:num_workers=2')


@contextmanager
def started(folder, processes=1):
    """A run that has trained its first iterations."""
    arguments = ('-opt', 'tiny.yml', *LONG)
    with subprocess.Popen(
        command('sst-train', *arguments, processes=processes),
        cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        lines = []
        for line in process.stderr:
            lines.append(line)
            if 'iter:       3/' in line:
                break
        else:
            pytest.fail(''.join(lines))
        yield process


def children(number):
    """The processes that a process has started."""
    for task in Path(f'/proc/{number}/task').iterdir():
        yield from map(int, (task / 'children').read_text().split())


def rank(number):
    variables = Path(f'/proc/{number}/environ').read_bytes().split(b'\0')
    return next(int(text[5:]) for text in variables if text.startswith(b'RANK='))


def the_group(process):
    os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does: the loading processes get it, too


def one_worker(process):
    (worker,) = [number for number in children(process.pid) if rank(number) == 1]
    os.kill(worker, signal.SIGUSR1)


@pytest.mark.parametrize(('processes', 'stop', 'code'), [(1, the_group, 143), (2, the_group, None), (2, one_worker, 1)])
def test_a_stopped_run_goes_on_to_the_same_weights(folder, processes, stop, code):
    with started(folder, processes) as process:
        stop(process)
        text = process.stderr.read()
    assert process.returncode != 0 if code is None else process.returncode == code, text
    states = list((folder / 'experiments/tiny/training_states').iterdir())
    assert [int(state.stem) < 150 for state in states] == [True], text
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--auto_resume', *LONG, processes=processes)
    run(folder, 'sst-train', '-opt', 'tiny.yml', *LONG, 'name=whole', processes=processes)
    assert_equal_to_the_bit(weights(folder, 'whole'), weights(folder))


def test_a_run_whose_terminal_is_closed_is_saved(folder):
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip('no terminals here')
    with subprocess.Popen(
        command('sst-train', '-opt', 'tiny.yml', *LONG),
        cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b''
        while b'iter:       3/' not in seen:
            seen += os.read(ours, 4096)  # OSError: the run has ended
        os.close(ours)
        os.killpg(process.pid, signal.SIGHUP)
    assert process.returncode == 128 + signal.SIGHUP
    assert len(list((folder / 'experiments/tiny/training_states').iterdir())) == 1


def test_a_loading_process_that_is_killed_is_one_line(folder):
    with started(folder) as process:
        for number in children(process.pid):
            os.kill(number, signal.SIGKILL)
        text = process.stderr.read()
    assert process.returncode == 2, text
    assert 'Traceback' not in text
    errors = [line for line in text.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, text
    assert '--auto_resume' in errors[0]


def test_a_lost_process_ends_the_others_with_one_error(folder):
    with started(folder, processes=2) as process:
        since = time.monotonic()
        (worker,) = [number for number in children(process.pid) if rank(number) == 1]
        os.kill(worker, signal.SIGKILL)
        text = process.stderr.read()
    assert time.monotonic() - since < 60
    assert process.returncode == 1
    assert len([line for line in text.splitlines() if line.startswith('error: ')]) == 1, text
    assert 'basicsr/train.py' not in text  # no stack trace of ours; torchrun's own is there
