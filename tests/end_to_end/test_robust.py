"""Training on degraded pictures through the real entry points: options/train_robust_x4.yml on a small network."""

import re

import cv2
import pytest
import torch
from basicsr.archs import build_network
from helpers import tiny_options, write_noise
from runs import REPOSITORY, assert_equal_to_the_bit, run, weights

from sst.ops.imresize import imresize

OPTIONS = """\
_base_: [{repository}/options/train_robust_x4.yml]
name: robust
datasets:
  train: {{dataroot_gt: data/HR, gt_size: 32, batch_size: 4, num_workers: 1}}
  val_1: {{dataroot_gt: data/HR, dataroot_lq: data/LR}}
  val_2: {{dataroot_gt: data/HR}}
path: {{pretrain_network_g: net.pth}}
train: {{total_iter: 4, warmup_iter: 2}}
val: {{val_freq: 2, pbar: false}}
logger: {{print_freq: 1, save_checkpoint_freq: 2}}
"""


@pytest.fixture
def folder(tmp_path):
    """A working folder with three pictures, weights and a training file."""
    (tmp_path / 'data' / 'LR').mkdir(parents=True)
    for index in range(3):
        hr = write_noise(tmp_path / 'data' / 'HR' / f'p{index}.png', 64, 72, seed=index)
        cv2.imwrite(str(tmp_path / 'data' / 'LR' / f'p{index}x4.png'), imresize(hr, 1 / 4))
    (tmp_path / 'robust.yml').write_text(OPTIONS.format(repository=REPOSITORY), encoding='utf-8')
    network = {'type': 'SST', **tiny_options(scale=4, num_blocks=1, window_sizes=[4, 8])}
    torch.save({'params': build_network(network).state_dict(), 'network_g': network}, tmp_path / 'net.pth')
    return tmp_path


def validation(folder, name):
    """PSNR of each set at iteration 4, as the log has it."""
    log = '\n'.join(path.read_text() for path in (folder / 'experiments' / name).glob('train_*.log'))
    return dict(re.findall(r'Validation (\S+), iteration 4: psnr ([\d.]+)', log))


def test_a_run_and_its_continuation_with_other_workers_are_equal(folder):
    run(folder, 'sst-train', '-opt', 'robust.yml', '--force_yml', 'name=whole')
    run(folder, 'sst-train', '-opt', 'robust.yml', '--force_yml', 'train:total_iter=2', 'train:scheduler:periods=[4]')
    run(folder, 'sst-train', '-opt', 'robust.yml', '--auto_resume', '--force_yml', 'datasets:train:num_workers=2')
    assert_equal_to_the_bit(weights(folder, 'whole'), weights(folder, 'robust'))
    figures = validation(folder, 'whole')
    assert figures.keys() == {'demo_val', 'demo_val_degraded'}
    assert figures['demo_val'] != figures['demo_val_degraded']
    assert validation(folder, 'robust') == figures
