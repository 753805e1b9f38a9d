"""Log lines and TensorBoard's scalars of a training run."""

import io
import logging
import sys
import time

import pytest
from runs import scalars

from sst.driver.progress import Progress, init_writers


@pytest.fixture
def opt(tmp_path):
    return {
        'name': 'run',
        'rank': 0,
        'train': {'total_iter': 20},
        'datasets': {'train': {'prefetch_mode': None}},
        'path': {'experiments_root': str(tmp_path)},
        'logger': {'use_tb_logger': True, 'wandb': {'project': None}},
    }


def entry(iteration, **values):
    return {'epoch': 0, 'iter': iteration, 'lrs': [1e-3 / iteration], 'time': 1.0, 'data_time': 0.25, **values}


def run(opt, start, stop):
    writer = init_writers(opt, start)
    progress = Progress(opt).begin(opt, start, writer)
    for iteration in range(start + 1, stop + 1):
        progress.on_request(iteration - start - 1)
        progress(entry(iteration, l_pix=start + iteration / 10, scale=2.0))
    progress.close()
    writer.close()


def test_scalars(opt, tmp_path):
    run(opt, 0, 3)
    assert scalars(tmp_path, 'losses/l_pix') == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    assert scalars(tmp_path, 'lr') == pytest.approx({1: 1e-3, 2: 5e-4, 3: 1e-3 / 3})
    assert scalars(tmp_path, 'scale') == {1: 2, 2: 2, 3: 2}
    assert all(seconds >= 0 for seconds in scalars(tmp_path, 'time').values())


def test_resume_hides_what_was_logged_later(opt, tmp_path):
    run(opt, 0, 5)
    time.sleep(1.1)  # TensorBoard orders files by the second
    run(opt, 3, 4)
    assert scalars(tmp_path, 'losses/l_pix') == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3, 4: 3.4})


def test_line(opt, caplog):
    with caplog.at_level(logging.INFO, 'basicsr'):
        Progress(opt).begin(opt, 0, None)(entry(4, l_pix=0.0123456789))
    (line,) = caplog.messages
    assert line.startswith('[run][iter:       4/20, lr:(2.500e-04)] [eta: 0:00:0')
    assert line.endswith('(0.250)] l_pix: 1.234568e-02')


def test_other_ranks_are_silent(opt, caplog):
    opt['rank'] = 1
    assert init_writers(opt, 0) is None
    with caplog.at_level(logging.INFO, 'basicsr'):
        Progress(opt).begin(opt, 0, None)(entry(4, l_pix=1.0))
    assert not caplog.messages


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize('terminal', [True, False])
def test_bar_only_on_a_terminal(opt, monkeypatch, terminal):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, 'stderr', stream)
    progress = Progress(opt).begin(opt, 5, None)
    for taken in range(16):
        progress.on_request(taken)
    progress.close()
    assert ('run: 100%' in stream.getvalue() and '20/20' in stream.getvalue()) if terminal else not stream.getvalue()


def test_validation_counts_as_no_training(opt, monkeypatch):
    now = iter(float(second) for second in range(0, 1000, 10))
    monkeypatch.setattr('sst.driver.progress.time.perf_counter', lambda: next(now))
    times = []

    class Writer:
        def add_scalar(self, name, value, iteration):
            times.append(value) if name == 'time' else None

        def flush(self):
            pass

    progress = Progress(opt).begin(opt, 0, Writer())  # constructed at 0, begun at 10
    progress.besides(lambda: None)()  # from 20 to 30
    progress(entry(2, l_pix=1.0))  # at 40: 30 seconds for 2 iterations, 10 of them besides
    assert times == [10.0]
