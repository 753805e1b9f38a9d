"""Which state a run goes on from, and what belongs to it."""

import logging
from pathlib import Path

import pytest
import torch

from sst.driver.resume import (
    AlreadyFinished,
    load_resume_state,
    mark_finished,
    newest_state,
    open_folders,
    warn_of_changed_stream,
)
from sst.utils.errors import UserError
from sst.utils.files import atomic_save


@pytest.fixture
def opt(tmp_path):
    """A run with states at 8, 16 and 100 of 200 iterations."""
    path = {
        'experiments_root': tmp_path,
        'models': tmp_path / 'models',
        'visualization': tmp_path / 'visualization',
        'training_states': tmp_path / 'training_states',
    }
    for iteration in (8, 16, 100):
        save(tmp_path, iteration)
    return {
        'name': 'run',
        'rank': 0,
        'auto_resume': True,
        'train': {'total_iter': 200},
        'path': {key: str(folder) for key, folder in path.items()} | {'resume_state': None, 'param_key_g': None},
    }


def save(folder, iteration):
    for name in ('models', 'training_states'):
        (folder / name).mkdir(exist_ok=True)
    state = {'epoch': 0, 'iter': iteration, 'optimizers': [], 'stream': {'seed': 0, 'total_batch': 4, 'pictures': 9}}
    atomic_save(state, folder / f'training_states/{iteration}.state')
    atomic_save({'params': {}}, folder / f'models/net_g_{iteration}.pth')


def test_newest_by_number(opt, tmp_path):
    (tmp_path / 'training_states' / 'best.state').touch()
    assert newest_state(tmp_path / 'training_states').name == '100.state'
    assert newest_state(tmp_path / 'nothing') is None


def test_auto_resume_sets_the_weights(opt, tmp_path):
    state = load_resume_state(opt)
    weights = str(tmp_path / 'models/net_g_100.pth')
    assert state['iter'] == opt['start_iter'] == 100
    assert opt['path']['pretrain_network_g'] == opt['path']['resume_models'] == weights
    assert opt['path']['param_key_g'] == 'params'


def test_named_state(opt, tmp_path):
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'training_states/8.state')
    assert load_resume_state(opt)['iter'] == 8


def test_going_back_sets_later_checkpoints_aside(opt, tmp_path, capsys):
    mark_finished(opt)
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'training_states/8.state')
    load_resume_state(opt)
    open_folders(opt)
    assert (tmp_path / 'visualization').is_dir()
    (aside,) = tmp_path.glob('superseded_*')
    moved = {str(file.relative_to(aside)) for file in aside.rglob('*') if file.is_file()}
    states = {f'training_states/{iteration}.state' for iteration in (16, 100)}
    assert moved == states | {'finished.json', 'models/net_g_16.pth', 'models/net_g_100.pth'}
    assert str(aside) in capsys.readouterr().err
    opt.update(auto_resume=True)
    assert load_resume_state(opt)['iter'] == 8


def test_going_on_sets_nothing_aside(opt, tmp_path):
    load_resume_state(opt)
    open_folders(opt)
    assert not list(tmp_path.glob('superseded_*'))


def test_a_state_beyond_the_end_is_refused(opt):
    opt['train']['total_iter'] = 50
    with pytest.raises(UserError, match=r'100\.state is at iteration 100, beyond train.total_iter 50'):
        load_resume_state(opt)


def test_fresh_run(opt, tmp_path):
    opt['auto_resume'] = False
    assert load_resume_state(opt) is None
    opt.update(auto_resume=True)
    opt['path']['training_states'] = str(tmp_path / 'none')
    assert load_resume_state(opt) is None
    assert opt['start_iter'] == 0


def test_missing_weights(opt, tmp_path):
    (tmp_path / 'models/net_g_100.pth').unlink()
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'training_states/100.state')
    with pytest.raises(UserError, match=r'100\.state needs the weights saved with it: .*net_g_100\.pth is missing'):
        load_resume_state(opt)


def spoil(file):
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize('part', ['training_states/100.state', 'models/net_g_100.pth'])
@pytest.mark.parametrize('how', [spoil, Path.unlink])
@pytest.mark.parametrize('named', [None, '.', 'training_states'])
def test_a_damaged_newest_state_goes_back_to_the_newest_whole_one(opt, tmp_path, caplog, part, how, named):
    if named:
        opt.update(auto_resume=False)
        opt['path']['resume_state'] = str(tmp_path / named)
    how(tmp_path / part)
    with caplog.at_level(logging.WARNING):
        assert load_resume_state(opt)['iter'] == 16
    assert opt['path']['resume_state'] == str(tmp_path / 'training_states/16.state')
    if part.startswith('models') or how is spoil:
        assert str(tmp_path / part) in caplog.text
        assert '16.state' in caplog.text
        open_folders(opt)
        (aside,) = tmp_path.glob('superseded_*')
        assert (aside / 'training_states/100.state').exists()


def test_states_that_are_all_damaged_are_an_error(opt, tmp_path):
    for file in (tmp_path / 'training_states').iterdir():
        spoil(file)
    with pytest.raises(UserError, match=r'^[^\n]*100\.state[^\n]*$'):
        load_resume_state(opt)


@pytest.mark.parametrize('named', ['.', 'training_states'])
def test_a_folder_stands_for_its_newest_state(opt, tmp_path, named):
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / named)
    assert load_resume_state(opt)['iter'] == 100


@pytest.mark.parametrize('named', ['empty', 'models'])
def test_a_folder_without_states_says_what_to_type(opt, tmp_path, named):
    (tmp_path / 'empty').mkdir()
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / named)
    with pytest.raises(UserError, match=rf'{named} holds no training state; [^\n]*path:resume_state='):
        load_resume_state(opt)


def test_starting_anew_is_said(opt, tmp_path, caplog):
    opt['path']['training_states'] = str(tmp_path / 'none')
    with caplog.at_level(logging.INFO):
        assert load_resume_state(opt) is None
    assert 'anew' in caplog.text


def test_weights_are_no_state(opt, tmp_path):
    opt.update(auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'models/net_g_8.pth')
    with pytest.raises(UserError, match='not a training state'):
        load_resume_state(opt)


def test_finished_run(opt, tmp_path):
    save(tmp_path, 200)
    assert load_resume_state(opt)['iter'] == 200  # interrupted before its last validation: that is still to do
    mark_finished(opt)
    with pytest.raises(AlreadyFinished, match='run is finished'):
        load_resume_state(opt)
    opt['train']['total_iter'] = 300
    assert load_resume_state(opt)['iter'] == 200


@pytest.mark.parametrize(
    ('changed', 'says'),
    [
        ({}, None),
        ({'total_batch': 8}, 'total_batch 4 -> 8'),
        ({'seed': 1, 'pictures': 10}, 'seed 0 -> 1, pictures 9 -> 10'),
    ],
)
def test_changed_stream_is_said(opt, caplog, changed, says):
    load_resume_state(opt)
    opt['stream'] = opt['resumed_stream'] | changed
    with caplog.at_level(logging.WARNING):
        warn_of_changed_stream(opt, logging.getLogger('test'))
    assert (says in caplog.text) if says else not caplog.text


def test_fresh_stream_is_not_compared(caplog):
    warn_of_changed_stream({'resumed_stream': None, 'stream': {'seed': 0}}, logging.getLogger('test'))
    assert not caplog.text


def test_tensors_come_to_the_cpu(opt, tmp_path):
    state = {'iter': 150, 'optimizers': [{'state': {0: {'exp_avg': torch.ones(2)}}}]}
    atomic_save(state, tmp_path / 'training_states/150.state')
    atomic_save({'params': {}}, tmp_path / 'models/net_g_150.pth')
    assert load_resume_state(opt)['optimizers'][0]['state'][0]['exp_avg'].device.type == 'cpu'
