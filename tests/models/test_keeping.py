"""Which files of a run are kept, what they are checked against, and a disk that takes nothing for a while."""

import errno
import os
import time

import pytest
import torch
from model_runs import Loader, Pictures, make_opt, saved, train

from sst.driver.resume import read_whole_state
from sst.models import SSTModel
from sst.models.checkpoints import keep_digests, read_digests, room_needed
from sst.utils.digest import digest
from sst.utils.errors import UserError
from sst.utils.files import atomic_save, load_torch


def test_only_the_last_checkpoints_are_kept(tmp_path):
    opt = make_opt(tmp_path)
    opt['logger']['keep_last'] = 2
    model = SSTModel(opt)
    for iteration in (1, 2, 3):
        model.save(0, iteration)
    model.save(-1, -1)
    assert saved(tmp_path) == ['3.state', '4.state', 'net_g_3.pth', 'net_g_4.pth', 'net_g_latest.pth']


def test_the_best_weights_of_each_metric_are_kept(tmp_path):
    opt = make_opt(tmp_path, 'a')
    opt['logger']['keep_best'] = True
    model = SSTModel(opt)
    data = Pictures('a')
    expected = {}
    for iteration in (2, 4, 6):
        train(model, iteration, iteration)
        model.save(0, iteration)
        model.validation(Loader(data), iteration, None)
        expected[iteration] = model.net_g_ema.stem.weight.clone()
    best = load_torch(tmp_path / 'models/net_g_best_a_psnr.pth')
    iteration = model.best_metric_results['a']['psnr']['iter']
    assert best['metadata']['iteration'] == iteration
    assert torch.equal(best['params_ema']['stem.weight'], expected[iteration])


def test_weights_of_another_course_do_not_pass_for_those_of_a_state(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    model.save(0, 2)
    state, weights = tmp_path / 'training_states/2.state', tmp_path / 'models/net_g_2.pth'
    assert read_whole_state(state)['iter'] == 2
    content = load_torch(weights)
    content['params']['stem.weight'][0, 0, 0, 0] += 1e-6
    atomic_save(content, weights)
    with pytest.raises(UserError, match=r'net_g_2\.pth: is not what the run wrote'):
        read_whole_state(state)
    atomic_save(load_torch(state) | {'iter': 3}, state)
    os.rename(weights, tmp_path / 'models/net_g_3.pth')
    with pytest.raises(UserError, match=r'2\.state: is not what the run wrote'):
        read_whole_state(state)


@pytest.mark.parametrize('digests', ['text', {}, {'state': 3}, {'params': 'x', 'params_ema': None}], ids=str)
def test_digests_that_are_none_are_one_line(tmp_path, digests):
    SSTModel(make_opt(tmp_path)).save(0, 2)
    state = tmp_path / 'training_states/2.state'
    atomic_save(load_torch(state) | {'digests': digests}, state)
    with pytest.raises(UserError, match=r'^[^\n]*2\.state[^\n]*$'):
        read_whole_state(state)


def test_a_digest_sees_each_bit_and_no_order():
    content = {'a': torch.zeros(3, dtype=torch.bfloat16), 'b': [1, (2.5, None)], 3: 'text'}
    assert digest(content) == digest({3: 'text', 'b': [1, (2.5, None)], 'a': torch.zeros(3, dtype=torch.bfloat16)})
    changes = [{'a': -torch.zeros(3, dtype=torch.bfloat16)}, {'a': torch.zeros(3)}, {'b': [1, 2.5, None]}, {3: 'txet'}]
    assert len({digest(content), *(digest(content | change) for change in changes)}) == 5
    with pytest.raises(TypeError, match='set'):
        digest({1})


def test_digests_of_weights_are_listed_and_cut_where_a_run_goes_on(tmp_path):
    opt = make_opt(tmp_path)
    opt['logger']['digest_freq'] = 2
    model = SSTModel(opt)
    train(model, 1, 4)
    with open(tmp_path / 'digests.csv', 'a') as file:
        file.write('6,torn')
    listed = read_digests(tmp_path)
    assert list(listed) == [2, 4]
    assert listed[4] == [digest(model.net_g.state_dict()), digest(model.net_g_ema.state_dict())]
    keep_digests(tmp_path, 2)
    assert (tmp_path / 'digests.csv').read_text() == f'2,{",".join(listed[2])}\n'


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS])
def test_a_disk_is_tried_again(tmp_path, monkeypatch, number):
    opt = make_opt(tmp_path)
    opt['logger']['write_retry'] = 60
    model = SSTModel(opt)
    monkeypatch.setattr(time, 'sleep', lambda seconds: monkeypatch.undo())  # meanwhile somebody makes room
    monkeypatch.setattr(os, 'fsync', lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    model.save(0, 2)
    assert saved(tmp_path) == ['2.state', 'net_g_2.pth']


def test_nobody_waits_for_a_disk_after_a_signal_or_for_a_folder_that_is_missing(tmp_path, monkeypatch):
    opt = make_opt(tmp_path)
    opt['logger']['write_retry'] = 500
    model = SSTModel(opt)
    with monkeypatch.context() as full:
        full.setattr(os, 'fsync', lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, 'full')))
        model.stop_asked = lambda: 15
        with pytest.raises(UserError, match='the disk is full'):
            model.save(0, 2)
    model.stop_asked = lambda: 0
    (tmp_path / 'models').rmdir()
    with pytest.raises(UserError, match='No such file'):
        model.save(0, 2)


@pytest.mark.parametrize(
    ('keep', 'best', 'start', 'count', 'needed'),
    [(None, False, 0, 6, 6 * 30 + 10), (2, False, 0, 3, 3 * 30 + 10), (None, True, 16, 3, 3 * 30 + 20)],
)
def test_the_room_that_a_run_needs(keep, best, start, count, needed):
    opt = {
        'train': {'total_iter': 28},
        'logger': {'save_checkpoint_freq': 5, 'keep_last': keep, 'keep_best': best},
        'datasets': {'train': {}, 'val': {}},
        'val': {'metrics': {'psnr': {}}},
    }
    assert room_needed(opt, (10, 20), start) == (count, needed)
