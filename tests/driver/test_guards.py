"""Whole runs that meet images that vanish, losses that leap, and a small disk that is full for a while."""

import errno
import os
import re
import subprocess
import time
from collections import namedtuple

import pytest
import torch
from basicsr.utils.registry import MODEL_REGISTRY
from driver_runs import SignalledModel, latest, training
from runs import scalars

from sst.data.loader import build_train_loader
from sst.driver import lock, preflight
from sst.driver.resume import newest_state
from sst.utils.files import load_torch


@MODEL_REGISTRY.register()
class VisitedModel(SignalledModel):
    """Calls `visit` before each iteration."""

    visit = staticmethod(lambda iteration, model: None)

    def optimize_parameters(self, current_iter):
        type(self).visit(current_iter, self)
        super().optimize_parameters(current_iter)


@pytest.fixture
def visited(monkeypatch):
    def options(visit, name='run', **data):
        monkeypatch.setattr(VisitedModel, 'visit', staticmethod(visit))
        return training(name, **data) | {'model_type': 'VisitedModel'}

    return options


def logged(root, name='run'):
    return ''.join(path.read_text() for path in (root / f'experiments/{name}').glob('*.log'))


@pytest.mark.parametrize('workers', [0, 2])
def test_an_image_that_vanishes_is_named_and_replaced(start, root, visited, workers):
    def remove(iteration, model):
        if iteration == 4:
            (root / 'datasets/Train/HR/2.png').unlink(missing_ok=True)

    assert start(visited(remove, num_workers=workers)) == 0
    assert logged(root).count('2.png cannot be read') == 1


def test_every_process_replaces_an_image_by_the_same(root):
    class Vanishing(torch.utils.data.Dataset):
        def __len__(self):
            return 7

        def __getitem__(self, index):
            if index == 3:
                raise ValueError('gone')
            return {'index': index, 'drawn': torch.rand(1)}

    def loaded(**where):
        loader = build_train_loader(Vanishing(), total_batch=4, seed=5, start_iter=0, total_iter=7, most_bad=2, **where)
        return [(batch['index'], batch['drawn']) for batch in loader]

    whole = loaded()
    assert all(3 not in index for index, _ in whole)
    assert sum(len(index) for index, _ in whole) == 28
    shares = [loaded(num_workers=1, rank=rank, world=2) for rank in range(2)]
    for step, (index, drawn) in enumerate(whole):
        assert torch.equal(torch.stack([share[step][0] for share in shares], 1).flatten(), index)
        assert torch.equal(torch.stack([share[step][1] for share in shares], 1).flatten(0, 1), drawn)


def test_too_many_images_that_vanish_end_the_run(start, root, capsys, visited):
    def remove(iteration, model):
        for number in (0, 1) if iteration == 4 else ():
            (root / f'datasets/Train/HR/{number}.png').unlink(missing_ok=True)

    assert start(visited(remove, max_bad_images=1)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert re.search(r'[01]\.png cannot be read', line)


def leap(iteration, model):
    if iteration == 8 and not model.leaps.returns:
        model.gt = model.gt * 1000


def with_spikes(options):
    options['train'] |= {'spikes': {'factor': 3.0, 'window': 5}}
    options['logger']['print_freq'] = 1
    return options


def test_a_leap_goes_back_to_the_last_state_with_another_order(start, root, visited):
    assert start(with_spikes(visited(leap))) == 0
    text = logged(root)
    assert re.search(r'leaps to .*goes back to .*6\.state .*time 1', text)
    state = newest_state(root / 'experiments/run/training_states')
    assert load_torch(state)['leaps']['returns'] == 1
    assert sorted(scalars(root / 'experiments/run', 'losses/l_L1Loss')) == list(range(1, 11))
    assert (root / 'experiments/run/finished.json').exists()
    assert start(with_spikes(visited(lambda iteration, model: None, 'calm'))) == 0
    assert not torch.equal(latest(root), latest(root, 'calm'))  # other samples since iteration 6


def test_the_best_weights_of_a_given_up_course_go_with_it(start, root, visited):
    def leap_then_spoil(iteration, model):
        leap(iteration - 1, model)
        if model.leaps.returns:
            model.net_g.conv.weight.data.zero_()
            model.net_g.conv.bias.data.fill_(-0.5)

    options = with_spikes(visited(leap_then_spoil))
    options['logger']['keep_best'], options['train']['ema_decay'] = True, 0
    options['val']['val_freq'] = 2  # so that the weights of iteration 8 are the best before the leap
    assert start(options) == 0
    run = root / 'experiments/run'
    best = load_torch(newest_state(run / 'training_states'))['best_metric_results']['Val']['psnr']['iter']
    assert best == 6
    assert load_torch(run / 'models/net_g_best_Val_psnr.pth')['metadata']['iteration'] == best


def test_a_leap_without_a_state_ends_the_run(start, visited):
    options = with_spikes(visited(leap))
    options['logger']['save_checkpoint_freq'] = 100
    assert start(options) == 3


def test_a_disk_without_room_for_all_checkpoints_is_told_before(start, root, capsys, monkeypatch):
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(preflight.shutil, 'disk_usage', lambda place: usage(2000, 0, 2000))
    assert start(training()) == 2
    assert re.search(r'4 checkpoints .*keep_last', capsys.readouterr().err)
    assert not (root / 'experiments').exists()


@pytest.fixture
def small_disk(root):
    """`experiments` is a file system of its own, of 1 MB."""
    (root / 'experiments').mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(root / 'experiments')], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip('no right to mount')
    yield root / 'experiments'
    subprocess.run(['umount', '-l', str(root / 'experiments')], check=True)


def test_a_full_disk_is_waited_for(start, root, small_disk, visited, monkeypatch):
    filler = small_disk / 'filler'

    def fill(iteration, model):
        if iteration == 5:
            filler.write_bytes(b'0' * (os.statvfs(small_disk).f_bavail * 4096))

    assert start(visited(lambda iteration, model: None, 'whole')) == 0
    options = visited(fill)
    monkeypatch.setattr(time, 'sleep', lambda seconds: filler.unlink())
    options['logger']['write_retry'] = 60
    assert start(options) == 0
    assert torch.equal(latest(root), latest(root, 'whole'))


def test_a_disk_that_stays_full_ends_the_run_with_the_last_state(start, root, small_disk, capsys, visited):
    def fill(iteration, model):
        if iteration == 5:
            (small_disk / 'filler').write_bytes(b'0' * (os.statvfs(small_disk).f_bavail * 4096))

    options = visited(fill)
    options['logger'] |= {'write_retry': 0.2}
    assert start(options) == 2
    assert re.search(r'error: cannot write .*net_g_6\.pth', capsys.readouterr().err)
    (small_disk / 'filler').unlink()
    assert newest_state(small_disk / 'run/training_states').name == '3.state'
    assert start(visited(lambda iteration, model: None), '--auto_resume') == 0
    assert start(visited(lambda iteration, model: None, 'whole')) == 0
    assert torch.equal(latest(root), latest(root, 'whole'))


OTHER = 'process 1 on another-machine since 2026-01-01 00:00:00'


@pytest.mark.parametrize(('age', 'code'), [(30, 2), (700, 0)])
@pytest.mark.parametrize('number', ['ENOLCK', 'EAGAIN'])
def test_a_lock_of_a_lost_machine_becomes_void(start, root, monkeypatch, capsys, age, code, number):
    """As on network file systems that know no locks, or keep them."""
    path = root / 'experiments/.run.lock'
    path.parent.mkdir()
    path.write_text(OTHER)
    os.utime(path, (time.time() - age, time.time() - age))
    lockf = lock.fcntl.lockf

    def remote(file, how):
        if number == 'ENOLCK' or os.fstat(file.fileno()).st_size:
            raise OSError(getattr(errno, number), 'as on a network')
        lockf(file, how)

    monkeypatch.setattr(lock.fcntl, 'lockf', remote)
    assert start(training()) == code
    assert ('is void' in capsys.readouterr().err) == (code == 0)


def test_an_owner_shows_life(root, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT', 0.01)
    path = root / 'experiments/.run.lock'
    with lock.locked(root / 'experiments/run'):
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 2
    assert not path.exists()
