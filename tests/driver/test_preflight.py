"""Every missing path is named at once, with what to do."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny_options

from sst.checkpoints import sources
from sst.driver import preflight
from sst.utils.errors import UserError

REPOSITORY = Path(__file__).parents[2]
SST_TINY = {'num_blocks': 3, 'window_sizes': [8, 8, 16], 'bias': {'type': 'RIB', 'ranks': 8}}


def options(tmp_path, *, is_train=True, **extra):
    """Options as the driver hands them over, with one whole set; `extra` sets are added."""
    for folder in ('HR', 'LR'):
        (tmp_path / 'good' / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / 'good' / folder / 'a.png').touch()
    phase = 'val' if is_train else 'test'
    sets = {f'{phase}_1': dataset('Good', 'good/HR', 'good/LR'), **extra}
    return {
        'is_train': is_train,
        'rank': 0,
        'datasets': sets,
        'path': {'pretrain_network_g': None, 'resume_state': None, 'experiments_root': str(tmp_path)},
    }


def dataset(name, gt, lq, backend='disk', **extra):
    return {
        'name': name,
        'dataroot_gt': gt,
        'dataroot_lq': lq,
        'io_backend': {'type': backend},
        'meta_info_file': None,
        'prepare': f'python scripts/prepare_data.py {name}',
        **extra,
    }


def check(opt, root):
    preflight.resolve_paths(opt, root)
    preflight.check_files(opt, root)


def faults(opt, root):
    with pytest.raises(UserError) as fault:
        check(opt, root)
    return str(fault.value).splitlines()


def test_whole_options_pass(tmp_path):
    opt = options(tmp_path)
    check(opt, tmp_path)
    assert opt['missing_sets'] == []
    assert opt['datasets']['val_1']['dataroot_gt'] == str(tmp_path / 'good/HR')


def test_home_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    opt = options(tmp_path, val_2=dataset('Home', '~/good/HR', str(tmp_path / 'good/LR')))
    check(opt, tmp_path)
    assert opt['datasets']['val_2']['dataroot_gt'] == str(tmp_path / 'good/HR')
    assert opt['datasets']['val_2']['dataroot_lq'] == str(tmp_path / 'good/LR')


def test_all_faults_at_once(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / '.gitkeep').touch()
    (tmp_path / 'half.lmdb').mkdir()
    (tmp_path / 'half.lmdb' / 'data.mdb').touch()
    opt = options(
        tmp_path,
        train=dataset('DF2K', 'datasets/nowhere', 'empty', meta_info_file='datasets/names.txt'),
        val_2=dataset('Base', 'half.lmdb', 'plain', 'lmdb'),
        val_3=dataset('File', 'good/HR/a.png', 'good/LR'),
    )
    opt['path'].update(pretrain_network_g='weights.pth', resume_state='8.state')
    df2k = 'python scripts/prepare_data.py DF2K'

    def elsewhere(key, name):
        place = f'put it there, or name another place: --force_yml datasets:{key}=PATH'
        return f'{place} (its usual one: python scripts/prepare_data.py {name})'

    assert faults(opt, tmp_path) == [
        f'missing: datasets/nowhere (datasets.train.dataroot_gt): no such folder; {df2k}',
        'missing: empty (datasets.train.dataroot_lq): the folder is empty; ' + elsewhere('train:dataroot_lq', 'DF2K'),
        f'missing: datasets/names.txt (datasets.train.meta_info_file): no such file; {df2k}',
        'missing: half.lmdb (datasets.val_2.dataroot_gt): meta_info.txt missing in it; '
        + elsewhere('val_2:dataroot_gt', 'Base'),
        'missing: plain (datasets.val_2.dataroot_lq): with io_backend.type lmdb the name must end in .lmdb; '
        + elsewhere('val_2:dataroot_lq', 'Base'),
        'missing: good/HR/a.png (datasets.val_3.dataroot_gt): a file, not a folder; '
        + elsewhere('val_3:dataroot_gt', 'File'),
        'missing: weights.pth (path.pretrain_network_g): no such file; name another file: '
        '--force_yml path:pretrain_network_g=FILE',
        'missing: 8.state (path.resume_state): no such file; name another file: --force_yml path:resume_state=FILE',
    ]


def test_every_root_of_a_list_is_looked_for(tmp_path):
    opt = options(tmp_path, train=dataset('Own', ['good/HR', 'datasets/none', '~/none.lmdb'], None, prepare='get it'))
    folder, database = faults(opt, tmp_path)
    assert folder == 'missing: datasets/none (datasets.train.dataroot_gt): no such folder; get it'
    home = Path('~').expanduser()
    assert database.startswith(
        f'missing: {home}/none.lmdb (datasets.train.dataroot_gt): no such database; put it there'
    )


def test_weights_of_a_run_name_its_options(tmp_path):
    (tmp_path / 'options').mkdir()
    (tmp_path / 'options' / 'demo.yml').touch()
    opt = options(tmp_path, is_train=False)
    opt['path']['pretrain_network_g'] = 'experiments/demo/models/net_g_latest.pth'
    (line,) = faults(opt, tmp_path)
    assert line.endswith('make it with: python sst/train.py -opt options/demo.yml')


def test_what_inference_cannot_be_here_is_said_before_anything_is_computed(tmp_path):
    opt = options(tmp_path) | {'network_g': {'type': 'SST', **tiny_options()}, 'val': {'graphs': 65536}}
    with pytest.raises(UserError, match='CUDA graphs need a CUDA device, the network is on cpu'):
        preflight.check_network(opt, torch.device('cpu'), tmp_path)


@pytest.mark.parametrize(
    ('weights', 'network', 'says'),
    [
        ('SST-tiny-x2', {'dim': 180, 'num_heads': 6}, ['options/_base_/models/SST_tiny.yml', 'type=from_weights']),
        ('SST-tiny-x4', {'dim': 180, 'num_heads': 6}, ['SST_tiny.yml', 'network_g:type=from_weights scale=4']),
        ('SST-tiny-x4', SST_TINY, ['--force_yml scale=4']),
    ],
    ids=['network', 'network and scale', 'scale'],
)
def test_weights_that_do_not_fit_name_what_does(tmp_path, weights, network, says):
    opt = options(tmp_path) | {'network_g': {'type': 'SST', **network}}
    opt['path']['pretrain_network_g'] = str(sources.shipped()[weights])
    with pytest.raises(UserError) as fault:
        preflight.check_network(opt, torch.device('cpu'), REPOSITORY)
    assert all(text in str(fault.value) for text in says)
    assert '\n' not in str(fault.value)


def test_training_leaves_out_missing_sets_that_are_optional(tmp_path, capsys):
    needed = dataset('Set5', 'set5/HR', 'set5/LR')
    opt = options(tmp_path, train=dataset('Good2', 'good/HR', 'good/LR'), val_2=needed | {'optional': True})
    check(opt, tmp_path)
    assert list(opt['datasets']) == ['val_1', 'train']
    assert opt['missing_sets'] == ['Set5']
    assert 'prepare_data.py Set5' in capsys.readouterr().err
    assert len(faults(options(tmp_path, val_2=needed), tmp_path)) == 2


def test_weights_that_ship_go_by_their_name(tmp_path, monkeypatch):
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'SST-tiny-x2.safetensors').touch()
    monkeypatch.setattr(sources, 'FOLDER', tmp_path / 'weights')
    opt = options(tmp_path)
    opt['path']['pretrain_network_g'] = 'SST-tiny-x2'
    check(opt, tmp_path)
    assert opt['path']['pretrain_network_g'] == str(tmp_path / 'weights' / 'SST-tiny-x2.safetensors')
    (tmp_path / 'SST-tiny-x2').touch()  # a file goes before a name
    opt['path']['pretrain_network_g'] = 'SST-tiny-x2'
    check(opt, tmp_path)
    assert opt['path']['pretrain_network_g'] == str(tmp_path / 'SST-tiny-x2')


def test_a_test_leaves_missing_sets_out(tmp_path, capsys):
    opt = options(tmp_path, is_train=False, test_2=dataset('Urban100', 'urban/HR', 'urban/LR'))
    check(opt, tmp_path)
    assert list(opt['datasets']) == ['test_1']
    assert opt['missing_sets'] == ['Urban100']
    assert 'warning: left out: urban/HR (datasets.test_2.dataroot_gt)' in capsys.readouterr().err


def test_a_test_of_nothing_is_an_error(tmp_path):
    opt = options(tmp_path, is_train=False, test_2=dataset('Urban100', 'urban/HR', 'urban/LR'))
    opt['datasets'].pop('test_1')
    assert len(faults(opt, tmp_path)) == 2


def train_options(**data):
    return {
        'datasets': {'train': {'batch_size': 8, **data}},
        'train': {'accumulate': 1},
        'logger': {'use_tb_logger': True, 'wandb': {'project': None}},
    }


@pytest.mark.parametrize(
    ('opt', 'world', 'says'),
    [
        (train_options(), 3, 'does not divide by 3'),
        (train_options(prefetch_mode='cuda'), 1, 'prefetch_mode: cuda needs a GPU'),
        (train_options() | {'logger': {'use_tb_logger': False, 'wandb': {'project': 'x'}}}, 1, 'use_tb_logger=true'),
    ],
    ids=['batch', 'prefetcher', 'W&B without TensorBoard'],
)
def test_refused_options(opt, world, says):
    with pytest.raises(UserError, match=says):
        preflight.check_options(opt, torch.device('cpu'), world)


def test_missing_wandb_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    opt = train_options() | {'logger': {'use_tb_logger': True, 'wandb': {'project': 'x'}}}
    with pytest.raises(UserError, match=r"pip install 'sst-sr\[wandb\]'"):
        preflight.check_options(opt, torch.device('cpu'), 1)
