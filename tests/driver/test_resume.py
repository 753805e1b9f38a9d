"""Which state a run goes on from, and what belongs to it."""

import logging
from pathlib import Path

import pytest

from sst.driver.resume import (
    AlreadyFinished,
    load_resume_state,
    mark_finished,
    newest_state,
    open_folders,
    warn_of_changed_stream,
)
from sst.options import checked_options
from sst.utils.errors import UserError
from sst.utils.files import atomic_save

DEMO = Path(__file__).parents[2] / 'options' / 'demo.yml'


@pytest.fixture
def folder(tmp_path):
    """A run with states at 8, 16 and 100 of 200 iterations."""
    for iteration in (8, 16, 100):
        save(tmp_path, iteration)
    return tmp_path


def options(total=200, resume_state=None):
    overrides = [f'train:total_iter={total}', 'train:scheduler={type: MultiStepLR, milestones: [1]}']
    found = checked_options(DEMO, [*overrides, 'train:warmup_iter=-1'])
    found.path.resume_state = resume_state and str(resume_state)
    return found


def load(folder, state=None, total=200):
    """The state of `--auto_resume`, or the named one of the folder."""
    named = None if state is None else folder / state
    return load_resume_state(options(total, named), folder, auto=named is None)


def save(folder, iteration):
    for name in ('models', 'training_states'):
        (folder / name).mkdir(exist_ok=True)
    state = {'epoch': 0, 'iter': iteration, 'optimizers': [], 'stream': {'seed': 0, 'total_batch': 4, 'pictures': 9}}
    atomic_save(state, folder / f'training_states/{iteration}.state')
    atomic_save({'params': {}}, folder / f'models/net_g_{iteration}.pth')


def test_newest_by_number(folder):
    (folder / 'training_states' / 'best.state').touch()
    assert newest_state(folder / 'training_states').name == '100.state'
    assert newest_state(folder / 'nothing') is None


def test_auto_resume_takes_the_newest_with_its_weights(folder):
    state = load(folder)
    assert state['iter'] == 100
    assert state['path'] == str(folder / 'training_states/100.state')
    assert state['weights_path'] == str(folder / 'models/net_g_100.pth')
    assert state['weights'] == {'params': {}}


def test_going_back_sets_later_checkpoints_aside(folder, capsys):
    mark_finished(options(), folder)
    open_folders(folder, load(folder, 'training_states/8.state')['iter'])
    assert (folder / 'visualization').is_dir()
    (superseded,) = folder.glob('superseded_*')
    moved = {str(file.relative_to(superseded)) for file in superseded.rglob('*') if file.is_file()}
    states = {f'training_states/{iteration}.state' for iteration in (16, 100)}
    assert moved == states | {'finished.json', 'models/net_g_16.pth', 'models/net_g_100.pth'}
    assert str(superseded) in capsys.readouterr().err
    assert load(folder)['iter'] == 8


def test_going_on_sets_nothing_aside(folder):
    open_folders(folder, load(folder)['iter'])
    assert not list(folder.glob('superseded_*'))


def test_a_state_beyond_the_end_is_refused(folder):
    with pytest.raises(UserError, match=r'100\.state is at iteration 100, .*\b50\b'):
        load(folder, total=50)


def test_fresh_run(folder, caplog):
    assert load_resume_state(options(), folder, auto=False) is None
    with caplog.at_level(logging.INFO):
        assert load_resume_state(options(), folder / 'none', auto=True) is None
    assert 'anew' in caplog.text


def test_missing_weights(folder):
    (folder / 'models/net_g_100.pth').unlink()
    with pytest.raises(UserError, match=r'100\.state.*net_g_100\.pth'):
        load(folder, 'training_states/100.state')


def spoil(file):
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize('part', ['training_states/100.state', 'models/net_g_100.pth'])
@pytest.mark.parametrize('how', [spoil, Path.unlink])
@pytest.mark.parametrize('named', [None, '.', 'training_states'])
def test_a_damaged_newest_state_goes_back_to_the_newest_whole_one(folder, caplog, part, how, named):
    how(folder / part)
    with caplog.at_level(logging.WARNING):
        state = load(folder, named)
    assert state['path'] == str(folder / 'training_states/16.state')
    if part.startswith('models') or how is spoil:
        assert str(folder / part) in caplog.text
        assert '16.state' in caplog.text
        open_folders(folder, state['iter'])
        (superseded,) = folder.glob('superseded_*')
        assert (superseded / 'training_states/100.state').exists()


def test_states_that_are_all_damaged_are_an_error(folder):
    for file in (folder / 'training_states').iterdir():
        spoil(file)
    with pytest.raises(UserError, match=r'^[^\n]*100\.state[^\n]*$'):
        load(folder)


@pytest.mark.parametrize('named', ['.', 'training_states'])
def test_a_folder_stands_for_its_newest_state(folder, named):
    assert load(folder, named)['iter'] == 100


@pytest.mark.parametrize('named', ['empty', 'models', 'models/net_g_8.pth'])
def test_what_holds_no_state_is_refused_with_what_to_type(folder, named):
    (folder / 'empty').mkdir()
    with pytest.raises(UserError, match=rf'{named}[^\n]*--force_yml path:'):
        load(folder, named)


def test_finished_run(folder):
    save(folder, 200)
    assert load(folder)['iter'] == 200  # interrupted before its last validation: that is still to do
    mark_finished(options(), folder)
    with pytest.raises(AlreadyFinished):
        load(folder)
    assert load(folder, total=300)['iter'] == 200


@pytest.mark.parametrize(
    ('changed', 'says'),
    [
        ({}, None),
        ({'total_batch': 8}, 'total_batch 4 -> 8'),
        ({'seed': 1, 'pictures': 10}, 'seed 0 -> 1, pictures 9 -> 10'),
    ],
)
def test_changed_stream_is_said(folder, caplog, changed, says):
    before = load(folder)['stream']
    with caplog.at_level(logging.WARNING):
        warn_of_changed_stream(before, before | changed)
        warn_of_changed_stream(None, before)
    assert (says in caplog.text) if says else not caplog.text
