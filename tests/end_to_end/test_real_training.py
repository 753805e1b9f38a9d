"""Training of a tiny SSTReal by options/train_SSTReal_tiny_x4.yml: resumed exactly, and better than bicubic."""

import json
import re
import signal
import subprocess

import cv2
import pytest
import torch
import yaml
from helpers import tiny_real_options, write_noise
from runs import REPOSITORY, assert_equal_to_the_bit, command, environment, run, weights
from skimage import data

from sst.utils.files import load_torch

CONTENT = {
    '_base_': [f'{REPOSITORY}/options/train_SSTReal_tiny_x4.yml'],
    'name': 'real',
    'network_g': tiny_real_options(dropout=0.2),
    'datasets': {
        'train': {'dataroot_gt': 'HR', 'gt_size': 64, 'num_workers': 1},
        'val_1': {'dataroot_gt': 'HR'},
    },
    'train': {'total_iter': 6, 'warmup_iter': 2, 'ema_decay': 0.9},
    'val': {'val_freq': 3, 'pbar': False, 'metrics': {'niqe': None}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 1000},
}


@pytest.fixture
def folder(tmp_path):
    """A working folder with five images and a training file of a network with dropout."""
    for index in range(5):
        write_noise(tmp_path / 'HR' / f'p{index}.png', 72, 80, seed=index)
    (tmp_path / 'real.yml').write_text(yaml.safe_dump(CONTENT), encoding='utf-8')
    return tmp_path


def train(folder, *changes, resume=False, processes=1, code=0):
    arguments = [
        '-opt',
        'real.yml',
        *(['--auto_resume'] if resume else []),
        *(['--force_yml', *changes] if changes else []),
    ]
    return run(folder, 'sst-train', *arguments, processes=processes, code=code)


def test_a_stopped_run_goes_on_to_the_same_weights(folder):
    """With dropout, and after another number of loading processes; the number of levels changes on the way."""
    longer = ['train:total_iter=40', 'val:val_freq=40']
    train(folder, 'name=whole', *longer)
    with subprocess.Popen(
        command('sst-train', '-opt', 'real.yml', '--force_yml', *longer),
        cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        seen = next((line for line in process.stderr if 'iter:       3/' in line), '')
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert (bool(seen), process.returncode) == (True, 128 + signal.SIGTERM)
    (saved,) = (folder / 'experiments' / 'real' / 'training_states').glob('*.state')
    assert 3 <= int(saved.stem) < 40
    train(folder, *longer, 'datasets:train:num_workers=0', resume=True)
    assert_equal_to_the_bit(weights(folder, 'whole'), weights(folder, 'real'))
    log = next((folder / 'experiments' / 'whole').glob('train_*.log')).read_text()
    assert 'l_pix_middle' in log
    assert re.search(r'Validation demo_val_real, iteration 40: psnr', log)
    state = load_torch(next((folder / 'experiments' / 'whole' / 'training_states').glob('40.state')))
    decays = [(group['weight_decay'], len(group['params'])) for group in state['optimizers'][0]['param_groups']]
    assert [decay for decay, _ in decays] == [0, 0]
    assert decays[1][1] == 3 * 2 * 4 + 10 + 1 + 3 + 2  # RIB of six layers, upsamplers, lr_stem, modulations, fuses


def test_two_processes_train_on_the_same_samples_and_noise(folder):
    train(folder, 'name=one', 'network_g:dropout=0')
    train(folder, 'name=two', 'network_g:dropout=0', processes=2)
    one, two = weights(folder, 'one'), weights(folder, 'two')
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4, msg=name)


def test_lpips_that_cannot_be_had_stops_before_anything_is_written(folder):
    done = train(folder, 'train:perceptual_opt={type: LPIPSLoss, loss_weight: 0.5}', code=2)
    assert 'train.perceptual_opt' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (folder / 'experiments').exists()


def test_the_plan_of_a_run(folder):
    done = run(folder, 'sst-train', '-opt', 'real.yml', '--dry-run')
    assert 'multiply-adds' in done.stdout
    assert 'could not be counted' not in done.stdout


def test_any_dataset_will_do(folder):
    train(folder, 'datasets:train:type=DegradedImageDataset', 'train:total_iter=1', 'train:warmup_iter=-1')
    assert weights(folder, 'real')


def test_seconds_of_training_beat_bicubic_in_niqe(tmp_path):
    """The short form of options/train_SSTReal_tiny_x4.yml: a photograph to train on, another one to judge."""
    for name, image in (('train', data.rocket()), ('val', data.chelsea()[:256, 60:380])):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / 'photo.png'), image[..., ::-1])
    judged = {'name': 'judged', 'type': 'RealImageDataset', 'dataroot_gt': 'val'}
    niqe = {'metrics': {'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'lower'}}}
    training = {
        '_base_': CONTENT['_base_'],
        'name': 'short',
        'datasets': {'train': {'dataroot_gt': 'train'}, 'val_1': None},
        'train': {'total_iter': 60, 'warmup_iter': 5},
    }
    test = {
        '_base_': [f'{REPOSITORY}/options/_base_/{name}.yml' for name in ('runtime', 'models/from_weights')],
        'scale': 4,
        'datasets': {'test_1': judged},
        'val': niqe,
    }
    shown = {
        'short': {'path': {'pretrain_network_g': 'experiments/short/models/net_g_latest.pth'}},
        'bicubic': {'network_g': {'type': 'Bicubic', 'scale': 4}},
    }
    (tmp_path / 'short.yml').write_text(yaml.safe_dump(training), encoding='utf-8')
    run(tmp_path, 'sst-train', '-opt', 'short.yml')
    figures = {}
    for name, network in shown.items():
        (tmp_path / f'test_{name}.yml').write_text(yaml.safe_dump(test | {'name': name} | network), encoding='utf-8')
        run(tmp_path, 'sst-test', '-opt', f'test_{name}.yml')
        figures[name] = json.loads((tmp_path / 'results' / name / 'metrics.json').read_text())['judged']['niqe']
    assert figures['short'] < figures['bicubic'] - 1
