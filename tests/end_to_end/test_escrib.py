"""ESC-RIB through the real entry points: options/train_ESCRIB_x2.yml and test_ESCRIB_x2.yml on a small network."""

import json

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img
from helpers import write_noise
from runs import REPOSITORY, losses, run

import sst
from sst.ops.imresize import imresize

NETWORK = """\
network_g:
  dim: 12
  pdim: 4
  kernel_size: 5
  num_blocks: 1
  conv_blocks: 1
  window_size: 8
  num_heads: 2
  bias: {ranks: 4, hidden: 8}
"""
TRAINING = """\
_base_: [REPOSITORY/options/train_ESCRIB_x2.yml]
name: tiny
num_gpu: 0
datasets:
  train: {dataroot_gt: data/HR, gt_size: 16, batch_size: 4, num_workers: 1}
  val_1: {dataroot_gt: data/HR, dataroot_lq: data/LR}
train: {total_iter: 4, warmup_iter: 2, scheduler: {milestones: [3]}}
val: {val_freq: 4, pbar: false}
logger: {print_freq: 1, save_checkpoint_freq: 4}
"""
TEST = """\
_base_: [REPOSITORY/options/test_ESCRIB_x2.yml]
name: tiny_test
num_gpu: 0
datasets: {test_1: {dataroot_gt: data/HR, dataroot_lq: data/LR}, test_2: null, test_3: null, test_4: null, test_5: null,
  test_6: null, test_7: null}
path: {pretrain_network_g: experiments/tiny/models/net_g_latest.pth}
val: {pbar: false}
"""


@pytest.fixture
def folder(tmp_path):
    """A working folder with two pictures, a training and a test file."""
    (tmp_path / 'data' / 'LR').mkdir(parents=True)
    for index, size in enumerate([(36, 44), (30, 26)]):
        hr = write_noise(tmp_path / 'data' / 'HR' / f'p{index}.png', *size, seed=index)
        cv2.imwrite(str(tmp_path / 'data' / 'LR' / f'p{index}x2.png'), imresize(hr, 1 / 2))
    for name, text in (('tiny', TRAINING), ('tiny_test', TEST)):
        content = text.replace('REPOSITORY', str(REPOSITORY)) + NETWORK
        (tmp_path / f'{name}.yml').write_text(content, encoding='utf-8')
    return tmp_path


def test_from_training_to_the_published_way_of_testing(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    assert len(losses(folder)) == 4
    run(folder, 'sst-test', '-opt', 'tiny_test.yml')
    figures = json.loads((folder / 'results/tiny_test/metrics.json').read_text())
    net = sst.from_pretrained(folder / 'experiments/tiny/models/net_g_latest.pth')
    expected = []
    for index in range(2):
        lr, hr = (cv2.imread(str(folder / f'data/{name}.png')) for name in (f'LR/p{index}x2', f'HR/p{index}'))
        height, width = lr.shape[:2]
        image = torch.from_numpy(lr[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        extended = torch.nn.functional.pad(image, (0, -width % 8, 0, -height % 8), 'reflect')
        with torch.no_grad():
            sr = net(extended)[..., : 2 * height, : 2 * width]
        expected.append(calculate_psnr(tensor2img(sr), hr, 2, test_y_channel=True))
    assert figures['Set5']['psnr'] == pytest.approx(np.mean(expected), abs=2e-3)  # rounding of 8 bits
