"""The programs without what Windows and macOS lack: signals, forks, file locks, /proc (other_system.py)."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from helpers import files
from picture_files import noise, saved

from sst.upscale import main

ROOT = Path(__file__).parents[1]
OPTIONS = f"""\
_base_: [{ROOT.as_posix()}/options/finetune.yml]
name: own
scale: 2
num_gpu: 0
datasets:
  train: {{dataroot_gt: HR, gt_size: 24, batch_size: 2, num_workers: 1}}
  val_1: {{type: DownsampleImageDataset, dataroot_gt: HR}}
network_g:
  type: SST
  scale: 2
  dim: 12
  num_blocks: 1
  window_sizes: [4, 8]
  num_heads: 2
  bias: {{type: RIB, ranks: 4}}
path: {{pretrain_network_g: null}}
train: {{total_iter: 2, warmup_iter: 1}}
val: {{val_freq: 2, pbar: false}}
"""

PROGRAM = """\
from sst.train import main
if __name__ == '__main__':
    raise SystemExit(main())
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run a program there, in a folder of its own with three pictures; its exit code must be 0."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        saved(f'HR/{number}.png', 48, 40, 3)

    def run(program: str, *arguments: str) -> None:
        command = [sys.executable, str(ROOT / 'tests/other_system.py'), program, *arguments]
        path = {'PYTHONPATH': str(ROOT)}
        done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f'{done.stdout[-3000:]}\n{done.stderr[-3000:]}'

    return run


def test_upscale_writes_the_same_pictures(start):
    saved('HR/more/4.tif', 20, 20)
    start(f'{ROOT}/sst/upscale.py', '--device', 'cpu', 'HR', '-o', 'there')
    assert main(['--device', 'cpu', 'HR', '-o', 'here']) == 0
    assert files('there') == files('here')
    for name in files('here'):
        there, here = (cv2.imread(f'{place}/{name}', cv2.IMREAD_UNCHANGED).astype(int) for place in ('there', 'here'))
        assert np.abs(there - here).max() <= 1  # processes may sum in another order, which rounds a rare value apart


def test_training_reaches_its_end(start):
    Path('own.yml').write_text(OPTIONS, encoding='utf-8')
    Path('train.py').write_text(PROGRAM, encoding='utf-8')
    start('train.py', '-opt', 'own.yml')
    assert {'net_g_2.pth', 'net_g_latest.pth'} <= set(files('experiments/own/models'))


def test_data_are_prepared_by_several_processes(start):
    start(f'{ROOT}/scripts/prepare_data.py', 'lr', '--input', 'HR', '--output', 'LR', '--scales', '2', '--jobs', '2')
    assert files('LR') == ['X2/0x2.png', 'X2/1x2.png', 'X2/2x2.png']
    start(f'{ROOT}/scripts/prepare_data.py', 'lmdb', '--input', 'HR', '--output', 'HR.lmdb', '--jobs', '2')
    with lmdb.open('HR.lmdb', readonly=True, lock=False) as database, database.begin() as transaction:
        stored = [cv2.imdecode(np.frombuffer(transaction.get(b'%d' % n), np.uint8), 1) for n in range(3)]
    assert all(np.array_equal(picture[..., ::-1], noise(48, 40, 3)) for picture in stored)
