"""BasicSR's pipelines under our driver, with a model of one number and pictures of noise."""

import json
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import ARCH_REGISTRY
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from sst.driver import prepare, run
from sst.driver.resume import newest_state
from sst.options.schema import Logger
from sst.utils.files import atomic_save, load_torch

ROOT = Path(__file__).resolve().parents[2]


@ARCH_REGISTRY.register()
class DriverTestNet(nn.Module):
    """One convolution and nearest enlargement."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.conv = scale, nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return nn.functional.interpolate(self.conv(x), scale_factor=self.scale)


@MODEL_REGISTRY.register()
class DriverTestModel:
    """The interface that BasicSR's loops call; its one weight sums up what it was fed, in order."""

    def __init__(self, opt):
        self.opt, self.value, self.seen = opt, torch.zeros((), dtype=torch.float64), []
        if opt['path'].get('resume_models'):
            self.value = load_torch(opt['path']['resume_models'])['value']

    def resume_training(self, state):
        assert state['stream']['seed'] == self.opt['manual_seed']

    def rehearse(self):
        pass

    def update_learning_rate(self, current_iter, warmup_iter):
        self.iteration = current_iter

    def feed_data(self, batch):
        self.batch = batch

    def optimize_parameters(self, current_iter):
        self.value = self.value * 0.9 + self.batch['lq'].double().mean() * current_iter
        if self.opt['name'] == 'killed' and current_iter == 7:
            raise KeyboardInterrupt

    def get_current_log(self):
        return {'l_pix': float(self.value)}

    def get_current_learning_rate(self):
        return [0.1]

    def save(self, epoch, current_iter):
        label = 'latest' if current_iter == -1 else current_iter
        content = {'params': DriverTestNet(2).state_dict(), 'value': self.value}
        atomic_save(content, f'{self.opt["path"]["models"]}/net_g_{label}.pth')
        if current_iter != -1:
            state = {'epoch': epoch, 'iter': current_iter, 'optimizers': [], 'stream': self.opt['stream']}
            atomic_save(state, f'{self.opt["path"]["training_states"]}/{current_iter}.state')

    def validation(self, loader, current_iter, tb_logger, save_img):
        name = loader.dataset.opt['name']
        if tb_logger:
            tb_logger.add_scalar(f'metrics/{name}', current_iter, current_iter)
        if not self.opt['is_train']:
            self.seen.append(name)
            results = {name: {'psnr': 30.0, 'images': len(loader.dataset)} for name in self.seen}
            for file in ('metrics.json', 'metrics.csv'):
                Path(self.opt['path']['results_root'], file).write_text(json.dumps(results))


def pictures(folder, count, size):
    folder.mkdir(parents=True)
    for index in range(count):
        noise = np.random.RandomState(index).randint(0, 255, (size, size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index}.png'), noise)


@pytest.fixture
def root(tmp_path):
    for name, count in (('Train', 5), ('Val', 2)):
        pictures(tmp_path / 'datasets' / name / 'HR', count, 16)
        pictures(tmp_path / 'datasets' / name / 'LR', count, 8)
    return tmp_path


def dataset(name, **extra):
    return {
        'name': name,
        'type': 'PairedImageDataset',
        'dataroot_gt': f'datasets/{name}/HR',
        'dataroot_lq': f'datasets/{name}/LR',
        'meta_info_file': None,
        'filename_tmpl': '{}',
        'io_backend': {'type': 'disk'},
        'prepare': f'python scripts/prepare_data.py {name}',
        **extra,
    }


def common(name):
    return {
        'name': name,
        'model_type': 'DriverTestModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 3,
        'dist_params': {'backend': 'auto', 'port': 29500},
        'network_g': {'type': 'DriverTestNet', 'scale': 2},
        'path': {'pretrain_network_g': None, 'param_key_g': None, 'strict_load_g': True, 'resume_state': None},
        'val': {'val_freq': 5, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr'}}},
    }


def training(name='run', **data):
    stream = {
        'gt_size': 8,
        'use_hflip': True,
        'use_rot': True,
        'batch_size': 4,
        'num_workers': 0,
        'pin_memory': True,
        'prefetch_mode': None,
    }
    return common(name) | {
        'datasets': {'train': dataset('Train', **(stream | data)), 'val': dataset('Val')},
        'train': {
            'total_iter': 10,
            'warmup_iter': -1,
            'accumulate': 1,
            'ema_decay': 0.9,
            'optim_g': {'type': 'AdamW', 'lr': 1.0},
        },
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 3, 'use_tb_logger': True, 'wandb': {'project': None}},
    }


def evaluation():
    return common('run') | {'datasets': {'test_1': dataset('Val'), 'test_2': dataset('Urban100')}}


@pytest.fixture
def start(root, monkeypatch):
    """Runs training or testing with a dictionary of options; gives the exit code."""
    monkeypatch.setattr(sys, 'argv', ['sst/train.py'])
    for variable in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(variable, raising=False)

    def started(options, *flags):
        monkeypatch.setattr(prepare, 'load_options', lambda path, overrides: deepcopy(options))
        work = run.run_training if 'train' in options else run.run_testing
        return work(root, ['-opt', 'some.yml', *flags])

    return started


def latest(root, name='run'):
    return load_torch(root / f'experiments/{name}/models/net_g_latest.pth')['value']


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
    assert newest_state(folder / 'training_states').name == '9.state'
    assert yaml.safe_load((folder / 'options.yml').read_text()) == training()
    assert not (root / 'tb_logger').exists()
    (log,) = folder.glob('*.log')
    text = log.read_text()
    for part in ('iter:      10/10', 'l_pix: ', 'Options: ', '5 pictures of Train', 'End of training'):
        assert part in text
    assert '[run][iter:       2/10' in capsys.readouterr().err


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


def test_another_runs_state_does_not_mix_with_what_is_there(start, root):
    assert start(training()) == 0
    assert start(training('second')) == 0
    opt = training('second')
    opt['path']['resume_state'] = str(root / 'experiments/run/training_states/6.state')
    assert start(opt) == 0
    (archived,) = root.glob('experiments/second_archived_*')
    assert newest_state(archived / 'training_states').name == '9.state'
    assert not (root / 'experiments/second/training_states/3.state').exists()
    assert torch.equal(latest(root, 'second'), latest(root))


def test_a_short_run_logs_its_last_iteration(start, root):
    opt = training()
    opt['train']['total_iter'], opt['logger']['print_freq'] = 1, 100
    assert start(opt) == 0
    (log,) = (root / 'experiments/run').glob('*.log')
    assert 'iter:       1/1' in log.read_text()


def test_no_logger_section(start, root):
    assert start(training() | {'logger': Logger().model_dump()}) == 0
    assert (root / 'experiments/run/tb_logger').is_dir()


@pytest.mark.parametrize(
    'data', [{'num_workers': 2}, {'num_workers': 1, 'prefetch_mode': 'cpu'}], ids=['workers', 'thread']
)
def test_loading_changes_nothing(start, root, data):
    assert start(training()) == 0
    assert start(training('other', **data)) == 0
    assert torch.equal(latest(root, 'other'), latest(root))


def test_debug(start, root):
    assert start(training(), '--debug') == 0
    assert newest_state(root / 'experiments/debug_run/training_states').name == '8.state'


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (lambda opt: opt['datasets']['train'].update(batch_size=0), 'datasets.train.batch_size: 0'),
        (
            lambda opt: opt['datasets']['train'].update(dataroot_gt='nowhere'),
            'missing: nowhere (datasets.train.dataroot_gt)',
        ),
        (lambda opt: opt['path'].update(pretrain_network_g='none.pth'), 'missing: none.pth (path.pretrain_network_g)'),
        (
            lambda opt: opt['path'].update(pretrain_network_g='https://a/b'),
            'missing: https://a/b (path.pretrain_network_g)',
        ),
        (lambda opt: opt['path'].update(pretrain_network_g='hf://a'), 'hf://a: no address of weights'),
        (lambda opt: opt['datasets']['val'].update(filename_tmpl='{}x2'), 'dataset Val: 2 of 2 pictures in'),
        (lambda opt: opt['network_g'].update(type='EDSR', num_feat=-1), 'network_g: EDSR cannot be built'),
        (lambda opt: opt['datasets']['val'].update(dataroot_lq='datasets/Val/HR'), 'dataset Val: '),
    ],
    ids=['batch', 'data', 'weights', 'address', 'hub address', 'network', 'no partner', 'wrong scale'],
)
def test_faults_come_before_any_folder(start, root, capsys, change, says):
    opt = training()
    change(opt)
    assert start(opt) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {says}')
    assert 'Traceback' not in error
    assert not (root / 'experiments').exists()


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


def test_pictures_smaller_than_the_crop_are_told_by_name(start, capsys):
    assert start(training(gt_size=32, num_workers=1)) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    assert last == 'error: dataset Train: and 2 more pictures that cannot be used'
    assert all('has 16x16 pixels, needed are 32 a side' in line for line in lines)


@pytest.mark.parametrize('kind', ['train', 'test'])
def test_a_torn_picture_is_found_before_an_older_run_is_touched(start, root, capsys, kind):
    options, folder = (training(), 'experiments') if kind == 'train' else (evaluation(), 'results')
    (root / folder / 'run').mkdir(parents=True)
    picture = root / 'datasets/Val/LR/1.png'
    content = picture.read_bytes()
    picture.write_bytes(content[:100] if kind == 'train' else b'')
    assert start(options) == 2
    assert f'error: dataset Val: picture {picture} cannot be read' in capsys.readouterr().err
    assert [path.name for path in (root / folder).iterdir()] == ['run']


HOLDER = """\
import pathlib, sys
from sst.driver.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print('held', flush=True)
    input()
"""


def test_a_run_is_refused_while_another_of_its_name_goes_on(start, root, capsys):
    with subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(root / 'experiments/run')], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.read(1)
        assert start(training()) == 2
        assert start(training(), '--dry-run') == 2
        assert start(training('second')) == 0
        other.kill()
    error = capsys.readouterr().err
    assert len(re.findall(rf'error: .*run is in use by process {other.pid} on .*name=NAME', error)) == 2
    assert start(training()) == 0  # the lock went with its process
    assert not list((root / 'experiments').glob('.*'))


@pytest.mark.parametrize('kind', ['train', 'test'])
def test_a_file_in_the_folders_place_is_one_line(start, root, capsys, kind):
    options, folder = (training(), 'experiments') if kind == 'train' else (evaluation(), 'results')
    (root / folder).touch()
    for flags in ([], ['--dry-run']):
        assert start(options, *flags) == 2
        assert f'error: cannot write {root / folder}' in capsys.readouterr().err


def test_dry_run_reads_pictures_and_states(start, root, capsys):
    assert start(training()) == 0
    (root / 'datasets/Train/HR/1.png').write_bytes(b'GIF')
    assert start(training(), '--dry-run') == 2
    assert 'dataset Train: ' in capsys.readouterr().err
    state = root / 'experiments/run/training_states/9.state'
    state.write_bytes(state.read_bytes()[:100])
    opt = training()
    opt['path']['resume_state'] = str(state)
    assert start(opt, '--dry-run') == 2
    assert '9.state' in capsys.readouterr().err


def test_dry_run_writes_nothing(start, root, capsys):
    before = sorted(root.rglob('*'))
    assert start(training(), '--dry-run') == 0
    plan = capsys.readouterr().out
    for part in ('84 parameters', 'Train: 5 pictures', '4 in total, 4 per process', 'multiply-adds', 'MiB'):
        assert part in plan
    assert sorted(root.rglob('*')) == before


def test_testing_prints_one_table(start, root, capsys):
    assert start(evaluation()) == 0
    captured = capsys.readouterr()
    assert 'warning: left out: datasets/Urban100/HR' in captured.err
    for part in ('Val', '30.00', 'PSNR', 'Urban100', 'missing', 'metrics.csv'):
        assert part in captured.out
    assert (root / 'results/run/options.yml').is_file()


def test_testing_nothing_is_an_error(start, root, capsys):
    opt = evaluation()
    del opt['datasets']['test_1']
    assert start(opt) == 2
    assert 'error: missing: datasets/Urban100/HR' in capsys.readouterr().err
    assert not (root / 'results').exists()


def test_the_wrong_kind_of_file(start, monkeypatch, root, capsys):
    monkeypatch.setattr(prepare, 'load_options', lambda path, overrides: evaluation())
    assert run.run_training(root, ['-opt', 'test.yml']) == 2
    assert 'run: python sst/test.py -opt test.yml' in capsys.readouterr().err
    monkeypatch.setattr(prepare, 'load_options', lambda path, overrides: training())
    assert run.run_testing(root, ['-opt', 'train.yml']) == 2
    assert 'run: python sst/train.py -opt train.yml' in capsys.readouterr().err


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
