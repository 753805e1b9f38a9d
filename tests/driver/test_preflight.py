"""Every missing path is named at once, with what to do."""

import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny_options

from sst.archs import SST
from sst.checkpoints import sources
from sst.checkpoints.fitting import MisfitError, load_weights
from sst.driver import preflight
from sst.driver.fitting_models import advice
from sst.ops.backends import fused
from sst.options import checked_options
from sst.options.data import Datasets
from sst.options.schema import Logger
from sst.utils.errors import UserError

REPOSITORY = Path(__file__).parents[2]
SST_TINY = {'num_blocks': 3, 'window_sizes': [8, 8, 16], 'bias': {'type': 'RIB', 'ranks': 8}}
DEMO = REPOSITORY / 'options' / 'demo.yml'
TEST = REPOSITORY / 'options' / 'test_bicubic.yml'


def options(tmp_path, *, is_train=True, **sets):
    """Options as the driver reads them, with one whole set; other sets are added."""
    for folder in ('HR', 'LR'):
        (tmp_path / 'good' / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / 'good' / folder / 'a.png').touch()
    found = checked_options(DEMO if is_train else TEST)
    train = found.datasets.train
    sets = {f'{"val" if is_train else "test"}_1': dataset('Good', 'good/HR', 'good/LR')} | sets
    if is_train and 'train' not in sets:
        sets['train'] = dataset('Train', 'good/HR', 'good/LR')
    if is_train:
        sets['train'] |= {'gt_size': train.gt_size, 'batch_size': 8}
    found.datasets = Datasets.model_validate({key: section for key, section in sets.items() if section})
    return found


def dataset(name, gt, lq, **extra):
    kind = 'PairedImageDataset' if lq else 'DownsampleImageDataset'
    paths = {'dataroot_gt': gt, 'dataroot_lq': lq} if lq else {'dataroot_gt': gt}
    return {'name': name, 'type': kind, 'prepare': f'python scripts/prepare_data.py {name}', **paths, **extra}


def check(found, root):
    preflight.resolve_paths(found, root)
    return preflight.missing_sets(found, root, tells=True)


def faults(found, root):
    with pytest.raises(UserError) as fault:
        check(found, root)
    return str(fault.value).splitlines()


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    found = options(tmp_path, val_2=dataset('Home', '~/good/HR', str(tmp_path / 'good/LR')))
    assert check(found, tmp_path) == {}
    for section in found.datasets.by_section().values():
        assert (section.dataroot_gt, section.dataroot_lq) == (str(tmp_path / 'good/HR'), str(tmp_path / 'good/LR'))


def test_all_faults_at_once(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / '.gitkeep').touch()
    (tmp_path / 'half.lmdb').mkdir()
    (tmp_path / 'half.lmdb' / 'data.mdb').touch()
    found = options(
        tmp_path,
        train=dataset('DF2K', 'datasets/nowhere', 'empty', meta_info_file='datasets/names.txt'),
        val_2=dataset('Base', 'half.lmdb', 'plain.lmdb'),
        val_3=dataset('File', 'good/HR/a.png', 'good/LR'),
    )
    found.path.pretrain_network_g = 'weights.pth'
    df2k = 'python scripts/prepare_data.py DF2K'
    lines = faults(found, tmp_path)
    keys = ['train.dataroot_gt', 'train.dataroot_lq', 'train.meta_info_file', 'val_2.dataroot_gt', 'val_2.dataroot_lq']
    keys = [f'datasets.{key}' for key in [*keys, 'val_3.dataroot_gt']] + ['path.pretrain_network_g']
    paths = [
        'datasets/nowhere',
        'empty',
        'datasets/names.txt',
        'half.lmdb',
        'plain.lmdb',
        'good/HR/a.png',
        'weights.pth',
    ]
    for line, path, key in zip(lines, paths, keys, strict=True):
        assert line.startswith(f'missing: {path} ({key}): ')
    assert lines[0].endswith(df2k)  # what lies in datasets/ is prepared
    assert lines[1].endswith('--force_yml datasets:train:dataroot_lq=FOLDER')  # an empty one needs images
    assert lines[2].endswith(df2k)
    assert '--force_yml datasets:val_2:dataroot_gt=PATH' in lines[3]
    assert '--force_yml path:pretrain_network_g=FILE' in lines[-1]


def test_every_root_of_a_list_is_looked_for(tmp_path):
    found = options(tmp_path, train=dataset('Own', ['good/HR', 'datasets/none', '~/none.lmdb'], None, prepare='get it'))
    folder, database = faults(found, tmp_path)
    assert folder == 'missing: datasets/none (datasets.train.dataroot_gt): no such folder; get it'
    assert database.startswith(f'missing: {Path("~").expanduser()}/none.lmdb (datasets.train.dataroot_gt): ')


@pytest.mark.parametrize('ending', ['', '.lmdb'])
def test_a_name_that_is_too_long_is_a_missing_set(tmp_path, ending):
    found = options(tmp_path, train=dataset('Train', f'{"a" * 300}{ending}', None))
    (line,) = faults(found, tmp_path)
    assert '(datasets.train.dataroot_gt): no such' in line


def test_weights_of_a_run_name_its_options(tmp_path):
    (tmp_path / 'options').mkdir()
    (tmp_path / 'options' / 'demo.yml').touch()
    found = options(tmp_path, is_train=False)
    found.path.pretrain_network_g = 'experiments/demo/models/net_g_latest.pth'
    (line,) = faults(found, tmp_path)
    assert line.endswith('python sst/train.py -opt options/demo.yml')


def test_what_inference_cannot_be_here_is_said_before_anything_is_computed(tmp_path):
    found = options(tmp_path)
    found.val.graphs = 65536
    with pytest.raises(UserError, match='CUDA'):
        preflight.check_network(SST(**tiny_options()), found, torch.device('cpu'))


def test_layers_that_cannot_be_trained_by_kernels_here_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fused, 'NO_TRITON', 'is not installed')
    found = options(tmp_path)
    net, device = SST(**tiny_options()), torch.device('cpu')
    preflight.check_network(net, found, device)
    found.train.fused_layers = True
    with pytest.raises(UserError, match=r'^train\.fused_layers: .*false'):
        preflight.check_network(net, found, device)


@pytest.mark.parametrize(
    ('weights', 'network', 'says'),
    [
        ('SST-tiny-x2', {'dim': 180, 'num_heads': 6}, ['options/_base_/models/SST_tiny.yml', 'type=from_weights']),
        ('SST-tiny-x4', {'dim': 180, 'num_heads': 6}, ['SST_tiny.yml', 'network_g:type=from_weights scale=4']),
        ('SST-tiny-x4', SST_TINY, ['--force_yml scale=4']),
    ],
    ids=['network', 'network and scale', 'scale'],
)
def test_weights_that_do_not_fit_name_what_does(weights, network, says):
    with pytest.raises(MisfitError) as fault:
        load_weights(SST(**network), str(sources.shipped()[weights]))
    told = advice(fault.value, REPOSITORY)
    assert all(text in told for text in says)
    assert '\n' not in told


def test_training_leaves_out_missing_sets_that_are_optional(tmp_path, capsys):
    needed = dataset('Set5', 'set5/HR', 'set5/LR')
    assert check(options(tmp_path, val_2=needed | {'optional': True}), tmp_path) == {'val_2': 'Set5'}
    assert 'prepare_data.py Set5' in capsys.readouterr().err
    assert len(faults(options(tmp_path, val_2=needed), tmp_path)) == 2


def test_weights_that_ship_go_by_their_name(tmp_path, monkeypatch):
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'SST-tiny-x2.safetensors').touch()
    monkeypatch.setattr(sources, 'FOLDER', tmp_path / 'weights')

    def found():
        named = options(tmp_path)
        named.path.pretrain_network_g = 'SST-tiny-x2'
        check(named, tmp_path)
        return named.path.pretrain_network_g

    assert found() == str(tmp_path / 'weights' / 'SST-tiny-x2.safetensors')
    (tmp_path / 'SST-tiny-x2').touch()  # a file goes before a name
    assert found() == str(tmp_path / 'SST-tiny-x2')


def test_a_test_leaves_missing_sets_out(tmp_path, capsys):
    found = options(tmp_path, is_train=False, test_2=dataset('Urban100', 'urban/HR', 'urban/LR'))
    assert check(found, tmp_path) == {'test_2': 'Urban100'}
    assert 'urban/HR (datasets.test_2.dataroot_gt)' in capsys.readouterr().err


@pytest.mark.parametrize('named', ['test_2', 'test_2:dataroot_gt', 'test_2:dataroot_lq:0'])
def test_what_the_command_line_names_is_never_left_out(tmp_path, named):
    found = options(tmp_path, is_train=False, test_2=dataset('Urban100', 'urban/HR', 'urban/LR'))
    preflight.resolve_paths(found, tmp_path)
    assert preflight.missing_sets(found, tmp_path, False, ['datasets:test_2:name=x']) == {'test_2': 'Urban100'}
    with pytest.raises(UserError, match='datasets.test_2.dataroot_gt'):
        preflight.missing_sets(found, tmp_path, False, [f'datasets:{named}=urban/HR'])


def test_a_test_of_nothing_is_an_error(tmp_path):
    found = options(tmp_path, is_train=False, test_1=dataset('Urban100', 'urban/HR', 'urban/LR'))
    assert len(faults(found, tmp_path)) == 2
    assert faults(options(tmp_path, is_train=False, test_1=None), tmp_path)


def changed(**logger):
    found = checked_options(DEMO)
    found.logger = Logger.model_validate(logger)
    return found


def test_refused_options():
    refused = {'batch_size': (changed(), 3), 'use_tb_logger': (changed(use_tb_logger=False, wandb={'project': 'x'}), 1)}
    refused['prefetch_mode'] = (cuda := changed(), 1)
    cuda.datasets.train.prefetch_mode = 'cuda'
    for key, (found, world) in refused.items():
        with pytest.raises(UserError, match=key):
            preflight.check_options(found, torch.device('cpu'), world)


def test_missing_wandb_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    with pytest.raises(UserError, match=r"pip install 'sst-sr\[wandb\]'"):
        preflight.check_options(changed(wandb={'project': 'x'}), torch.device('cpu'), 1)
