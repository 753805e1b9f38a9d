"""The short form of the soak: some kills, some hundred damaged inputs, and a part of a run that is trained again."""

import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

import soak
import verify_run
from soaking import ends, kills
from soaking.children import fork, wait
from soaking.fuzz import soak_fuzz
from soaking.inputs import all_kinds
from soaking.programs import programs
from soaking.settings import draw, make_data
from sst.driver.run import run_training
from sst.utils.errors import UserError
from sst.utils.files import atomic_save, load_torch

SEED = 20


@pytest.fixture
def told():
    return []


def test_killed_runs_end_as_whole_ones(tmp_path, told):
    make_data(tmp_path)
    counts = kills.soak_kills(tmp_path, SEED, 3, time.monotonic() + 60, told.append)
    assert counts['broken'] == 0, told
    assert sum(counts[moment] for moment in set(kills.MOMENTS)) >= 3


def test_a_broken_promise_is_found(tmp_path, told, monkeypatch):
    make_data(tmp_path)
    monkeypatch.setattr(kills, '_killed', lambda *_: False)  # nobody is killed: only the ends are compared
    monkeypatch.setattr(ends, 'ITERATIONS', 21)
    assert kills.soak_kills(tmp_path, SEED, 1, time.monotonic() + 3, told.append)['broken'] >= 1
    assert f'--seed {SEED}' in told[0]


def test_damaged_inputs_bring_out_only_our_errors(tmp_path, told):
    kinds = all_kinds(tmp_path) | programs(tmp_path)
    counts = soak_fuzz(kinds, tmp_path, SEED, 360, time.monotonic() + 60, told.append)
    assert counts['failed'] == 0, told
    assert counts['refused'] > 100


LOG = """\
INFO: Start training from epoch: 0, iter: 0
[run][iter:       1/4, lr:(1e-3)] [eta: 0:00:09, time (data): 0.100 (0.010)] l_pix: 0.5
Validation val, iteration 1: psnr 8.0 (best 8.0 at 1)
[run][iter:       2/4, lr:(1e-3)] [eta: 0:00:08, time (data): 0.100 (0.010)] l_pix: 0.4
"""
AGAIN = 'INFO: Start training from epoch: 0, iter: 1\n' + LOG.splitlines(keepends=True)[3].replace('0:00:08', '0:00:02')


def course(folder, *texts):
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f'train_run_{number}.log').write_text(text)
    return ends.logged(folder)


def test_what_a_log_told_of_a_course_that_was_given_up_is_void(tmp_path):
    whole = course(tmp_path / 'whole', LOG)
    assert [(line.iteration, line.kind) for line in whole] == [(1, 'trained'), (1, 'Validation val'), (2, 'trained')]
    assert course(tmp_path / 'resumed', LOG, AGAIN) == whole


@pytest.mark.parametrize(
    'texts',
    [(LOG, AGAIN.partition('\n')[2]), (LOG[: LOG.index('Valid')], AGAIN), (LOG, AGAIN.replace('0.4', '0.3')), (AGAIN,)],
    ids=['nobody says that it goes on', 'a gap', 'other values', 'a log that is gone'],
)
def test_a_log_with_gaps_or_doubles_is_another_course(tmp_path, texts):
    assert course(tmp_path / 'resumed', *texts) != course(tmp_path / 'whole', LOG)


def in_place(path, pieces):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'wb') as file:
        file.writelines(pieces)


def careless(path, text):
    Path(path).write_text(text)
    raise UserError('no')


def silent(*_, **__):
    return None


BROKEN = {
    'archives': ('prepare.unpack.write_file', in_place),
    'sst-upscale, images': ('sst.upscaling.run._conclude', lambda *_: sys.exit(0)),
    'sst-upscale, videos': ('sst.upscaling.run.say', silent),
    'sst-info': ('sst.checkpoints.description.read_weights', lambda *_, **__: {}['params']),
    'sst-train': ('sst.driver.run._say', silent),
    'sst-test': ('sst.driver.report.print_results', lambda folder, *_: shutil.rmtree(folder)),
    'convert_official': ('convert_official.atomic_write_text', careless),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_a_program_that_keeps_no_promise_is_found(tmp_path, told, monkeypatch, kind):
    kinds = {kind: programs(tmp_path)[kind]}
    monkeypatch.setattr(*BROKEN[kind])
    assert soak_fuzz(kinds, tmp_path, SEED, 24, time.monotonic() + 60, told.append)['failed'] > 0


def fall(rng, folder):
    raise RuntimeError('fallen')


def hang(rng, folder):
    time.sleep(60)


def crash(rng, folder):
    os._exit(6)


def refuse(rng, folder):
    raise UserError('no')


@pytest.mark.parametrize(('attempt', 'says'), [(fall, 'RuntimeError: fallen'), (hang, 'hangs'), (crash, 'code 6')])
def test_what_is_not_our_error_is_a_failure(tmp_path, told, monkeypatch, attempt, says):
    monkeypatch.setattr('soaking.fuzz.LONGEST', 1)
    kinds = {'good': refuse, 'bad': attempt}
    counts = soak_fuzz(kinds, tmp_path, 0, 5, time.monotonic() + 60, told.append)
    assert counts == {'good': 3, 'bad': 2, 'refused': 3, 'failed': 2}
    assert len(told) == 2
    assert all(says in line for line in told)


def test_a_child_that_hangs_is_killed(tmp_path):
    numbers = [fork(lambda: time.sleep(60) or 0, tmp_path / 'log'), fork(lambda: 3, tmp_path / 'log')]
    assert wait(numbers, 0.5) == [None, 3]


def test_the_script_says_how_to_repeat_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(soak, 'soak_kills', lambda *_: Counter(runs=1))
    monkeypatch.setattr(soak, 'soak_fuzz', lambda *_: Counter())
    monkeypatch.setattr(soak, 'programs', lambda _: {})
    assert soak.main(['--seed', '5', '--json', str(tmp_path / 'counts.json')]) == 0
    assert 'seed 5' in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / 'counts.json').read_text())['seed'] == 5


@pytest.mark.parametrize('minutes', ['0', '1e-9'])
def test_a_soak_that_tries_nothing_promises_nothing(capsys, monkeypatch, minutes):
    monkeypatch.setattr(soak, 'programs', lambda _: {})
    with pytest.raises(SystemExit) as ended:
        soak.main(['--minutes', minutes])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert '--minutes' in told.err
    assert 'every promise held' not in told.out


@pytest.fixture(scope='module')
def once(tmp_path_factory):
    """A folder with a run that has states at 5, 10, 15 and 20."""
    root = tmp_path_factory.mktemp('once')
    make_data(root)
    options, _ = draw(random.Random(1), 'run')
    options['logger'] |= {'save_checkpoint_freq': 5, 'keep_last': None, 'digest_freq': 2}
    options['datasets']['train'] |= {'num_workers': 0, 'prefetch_mode': None}
    (root / 'run.yml').write_text(yaml.safe_dump(options))
    assert run_training(root, ['-opt', str(root / 'run.yml')]) == 0
    return root


@pytest.fixture
def trained(once, tmp_path):
    """The folder of that run, for one test alone."""
    return shutil.copytree(once, tmp_path / 'root') / 'experiments/run'


def test_a_run_is_verified_from_its_states(trained, capsys):
    before = sorted(trained.parent.rglob('*'))
    assert verify_run.main([str(trained)]) == 0
    assert verify_run.main([str(trained), '--state', '5', '--iterations', '6']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(':')[0] for line in lines] == [f'iteration {number}' for number in (16, 6, 8, 10)]
    assert sorted(trained.parent.rglob('*')) == before


def test_other_weights_than_noted_are_found(trained, capsys):
    state = trained / 'training_states/15.state'
    content = load_torch(state)
    del content['digests']
    content['optimizers'][0]['param_groups'][0]['weight_decay'] = 0.5
    atomic_save(content, state)
    assert verify_run.main([str(trained)]) == 1
    assert 'iteration 16: DIFFERENT' in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [['--state', '7'], ['--state', '20'], ['--state', '5', '--iterations', '0']])
def test_nothing_to_compare_is_one_line(trained, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        verify_run.main([str(trained), *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].partition('error: ')[2]


def test_a_state_of_other_processes_says_how_to_start(trained, capsys):
    state = trained / 'training_states/15.state'
    content = load_torch(state)
    del content['digests']
    atomic_save(content | {'processes': 2}, state)
    with pytest.raises(SystemExit):
        verify_run.main([str(trained)])
    assert 'torchrun --nproc_per_node=2' in capsys.readouterr().err


def test_going_on_with_other_processes_is_said(trained):
    state = trained / 'training_states/15.state'
    content = load_torch(state)
    del content['digests']
    atomic_save(content | {'processes': 2}, state)
    arguments = ['-opt', str(trained.parents[1] / 'run.yml'), '--force_yml', f'path:resume_state={state}']
    assert run_training(trained.parents[1], arguments) == 0
    assert 'saved by 2 process(es), and now there are 1' in ''.join(path.read_text() for path in trained.glob('*.log'))
    assert torch.isfinite(load_torch(trained / 'models/net_g_latest.pth')['params']['stem.weight']).all()
