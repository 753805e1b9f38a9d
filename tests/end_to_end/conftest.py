"""A folder with pictures and option files, to train and test in."""

import cv2
import numpy as np
import pytest
from runs import REPOSITORY

from sst.ops.imresize import imresize

OPTIONS = """\
_base_: [{repository}/options/demo.yml]
name: tiny
datasets:
  train: {{dataroot_gt: data/HR, dataroot_lq: data/LR, gt_size: 24, batch_size: 4, num_workers: {workers}}}
  val_1: {{dataroot_gt: data/HR, dataroot_lq: data/LR}}
network_g:
  dim: 12
  num_blocks: 1
  window_sizes: [4, 8]
  num_heads: 2
  bias: {{ranks: 4}}
train: {{total_iter: 6, warmup_iter: 2, scheduler: {{periods: [6]}}}}
val: {{val_freq: 3, pbar: false}}
logger: {{print_freq: 1, save_checkpoint_freq: 3}}
"""
TEST_OPTIONS = """\
_base_: [{repository}/options/test_demo.yml]
name: tiny_test
datasets:
  test_1: {{name: here, dataroot_gt: data/HR, dataroot_lq: data/LR}}
  test_2:
    name: Manga109
    type: PairedImageDataset
    dataroot_gt: data/Manga109/HR
    dataroot_lq: data/Manga109/LR
    filename_tmpl: '{{}}x2'
    prepare: ask manga109.org
network_g:
  dim: 12
  num_blocks: 1
  window_sizes: [4, 8]
  num_heads: 2
  bias: {{ranks: 4}}
path: {{pretrain_network_g: experiments/tiny/models/net_g_latest.pth}}
val: {{save_img: true, pbar: false}}
"""


@pytest.fixture
def folder(tmp_path):
    """A working folder with five small pictures, a training and a test file."""
    generator = np.random.default_rng(0)
    for name in ('HR', 'LR'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    for index in range(5):
        small = generator.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        hr = cv2.resize(small, (44, 36), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / 'data' / 'HR' / f'p{index}.png'), hr)
        cv2.imwrite(str(tmp_path / 'data' / 'LR' / f'p{index}x2.png'), imresize(hr, 0.5))
    (tmp_path / 'tiny.yml').write_text(OPTIONS.format(repository=REPOSITORY, workers=1), encoding='utf-8')
    (tmp_path / 'tiny_test.yml').write_text(TEST_OPTIONS.format(repository=REPOSITORY), encoding='utf-8')
    return tmp_path
