"""BasicSR's pipelines under our driver, from the first iteration to the last, and testing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import basicsr.train
import pytest
import torch
import yaml
from driver_runs import DriverTestNet, evaluation, latest, training
from torch import nn

from sst.driver.resume import newest_state
from sst.options import load_options
from sst.utils.files import atomic_save, load_torch

ROOT = Path(__file__).resolve().parents[2]


def test_training_leaves_a_whole_run(start, root, capsys):
    assert start(training()) == 0
    folder = root / 'experiments/run'
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith('.log')) == [
        'environment.txt',
        'finished.json',
        'models',
        'options.yml',
        'tb_logger',
        'training_states',
        'visualization',
    ]
    assert newest_state(folder / 'training_states').name == '10.state'
    assert load_options(folder / 'options.yml')['train']['optim_g']['lr'] == 0.01
    assert not (root / 'tb_logger').exists()
    (log,) = folder.glob('*.log')
    text = log.read_text()
    for part in ('iter:      10/10', 'l_L1Loss: ', 'Options: ', 'of Train', 'End of training'):
        assert part in text
    assert '[run][iter:       2/10' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['train', 'test'])
def test_a_log_is_in_the_order_of_time(start, root, kind):
    folder = root / ('experiments' if kind == 'train' else 'results') / 'run'
    assert start(training() if kind == 'train' else evaluation()) == 0
    (log,) = folder.glob('*.log')
    lines = [line for line in log.read_text().splitlines() if re.match(r'\d{4}-', line)]
    times = [line[:23] for line in lines]
    assert len(times) > 5
    assert times == sorted(times)
    assert any('84 parameters' in line for line in lines)
    assert not any('WARNING' in line for line in lines if kind == 'train')


def test_killed_and_resumed_is_the_same_run(start, root, capsys):
    assert start(training()) == 0
    assert start(training('killed')) == 130
    assert '--auto_resume' in capsys.readouterr().err
    renamed = root / 'experiments/resumed'
    (root / 'experiments/killed').rename(renamed)
    assert start(training('resumed'), '--auto_resume') == 0
    assert torch.equal(latest(root, 'resumed'), latest(root))
    assert start(training('resumed'), '--auto_resume') == 0
    assert 'resumed is finished' in capsys.readouterr().err


def test_the_log_names_the_options_that_a_run_goes_on_with(start, root, capsys):
    assert start(training('killed')) == 130
    changed = training('killed')
    changed['logger']['print_freq'] = 3
    assert start(changed, '--auto_resume') == 130
    logs = sorted((root / 'experiments/killed').glob('*.log'), key=lambda path: path.stat().st_mtime_ns)
    named = [re.search(r'Options: .*/(.*)', log.read_text())[1] for log in logs]
    assert named == ['options.yml', 'options_6.yml']
    assert load_options(root / 'experiments/killed/options_6.yml')['logger']['print_freq'] == 3


def test_a_run_that_goes_on_within_a_second_keeps_its_log(start, root, monkeypatch):
    monkeypatch.setattr(basicsr.train, 'get_time_str', lambda: '20260101_000000')
    assert start(training('killed')) == 130
    assert start(training('killed'), '--auto_resume') == 130
    logs = sorted((root / 'experiments/killed').glob('*.log'))
    assert [re.findall(r'iter: +(\d+)/10', log.read_text()) for log in logs] == [['2', '4', '6'], []]


def test_another_runs_state_does_not_mix_with_what_is_there(start, root):
    assert start(training()) == 0
    assert start(training('second')) == 0
    opt = training('second')
    opt['path']['resume_state'] = str(root / 'experiments/run/training_states/6.state')
    assert start(opt) == 0
    (archived,) = root.glob('experiments/second_archived_*')
    assert newest_state(archived / 'training_states').name == '10.state'
    assert not (root / 'experiments/second/training_states/3.state').exists()
    assert torch.equal(latest(root, 'second'), latest(root))


def test_a_runs_folder_is_a_state_to_go_on_from(start, root, capsys):
    assert start(training()) == 0
    opt = training('second')
    opt['path']['resume_state'] = 'experiments/run'
    assert start(opt) == 0
    assert torch.equal(latest(root, 'second'), latest(root))
    assert start(training('third'), '--auto_resume') == 0
    assert 'anew' in capsys.readouterr().err


def test_a_short_run_logs_its_last_iteration(start, root):
    opt = training()
    opt['train']['total_iter'], opt['logger']['print_freq'] = 1, 100
    assert start(opt) == 0
    (log,) = (root / 'experiments/run').glob('*.log')
    assert 'iter:       1/1' in log.read_text()


def test_no_logger_section(start, root):
    options = training()
    del options['logger']
    assert start(options) == 0
    assert (root / 'experiments/run/tb_logger').is_dir()


@pytest.mark.parametrize(
    'data', [{'num_workers': 2}, {'num_workers': 1, 'prefetch_mode': 'cpu'}], ids=['workers', 'thread']
)
def test_loading_changes_nothing(start, root, data):
    assert start(training()) == 0
    assert start(training('other', **data)) == 0
    assert torch.equal(latest(root, 'other'), latest(root))


def test_a_run_that_diverges_ends_with_its_own_code_and_saves_nothing_broken(start, root, capsys):
    options = training()
    options['train']['optim_g']['lr'] = 3e37
    assert start(options) == 3
    assert 'not finite' in capsys.readouterr().err
    for state in (root / 'experiments/run/models').glob('*.pth'):
        assert all(value.isfinite().all() for value in load_torch(state)['params'].values())


def test_debug(start, root):
    assert start(training(), '--debug') == 0
    assert newest_state(root / 'experiments/debug_run/training_states').name == '10.state'


def test_weights_of_the_hub_are_downloaded_and_checked(start, root, capsys, monkeypatch):
    hub = pytest.importorskip('huggingface_hub')
    monkeypatch.setattr(hub, 'hf_hub_download', lambda repository, name, revision: str(root / name))
    options = evaluation()
    options['path']['pretrain_network_g'] = 'hf://a/b/net.pth'
    atomic_save({'params': nn.Linear(2, 2).state_dict()}, root / 'net.pth')
    assert start(options) == 2
    assert 'net.pth: does not fit network DriverTestNet' in capsys.readouterr().err
    atomic_save({'params': DriverTestNet(2).state_dict()}, root / 'net.pth')
    assert start(options) == 0
    written = yaml.safe_load((root / 'results/run/options.yml').read_text())
    assert written['path']['pretrain_network_g'] == 'hf://a/b/net.pth'


def test_dry_run_writes_nothing(start, root, capsys):
    before = sorted(root.rglob('*'))
    assert start(training(), '--dry-run') == 0
    plan = capsys.readouterr().out
    for part in ('84 parameters', 'Train: 5 ', '4 in total, 4 per process', 'multiply-adds', 'MiB'):
        assert part in plan
    assert sorted(root.rglob('*')) == before


def test_testing_prints_one_table(start, root, capsys):
    assert start(evaluation()) == 0
    captured = capsys.readouterr()
    assert 'warning: left out: datasets/Urban100/HR' in captured.err
    for part in ('Val', 'PSNR', 'Urban100', 'missing', 'metrics.csv'):
        assert part in captured.out
    assert (root / 'results/run/options.yml').is_file()


def test_a_place_on_the_command_line_must_be_there(start, root, capsys):
    assert start(evaluation(), '--force_yml', f'datasets:test_2:dataroot_gt={root}/nope') == 2
    assert 'datasets.test_2.dataroot_gt' in capsys.readouterr().err
    assert not (root / 'results').exists()


@pytest.mark.parametrize('script', ['train', 'test'])
def test_scripts_take_their_folder_off_the_path(script):
    answer = subprocess.run(
        [sys.executable, f'sst/{script}.py'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {'PYTHONPATH': ''},
    )
    assert answer.returncode == 2
    assert 'the following arguments are required: -opt' in answer.stderr
    assert 'Traceback' not in answer.stderr
