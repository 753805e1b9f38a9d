"""The README's rows of training on one's own pictures, as they stand there, where nothing else was made before."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from runs import environment

import sst
from sst.ops.imresize import imresize

REPOSITORY = Path(__file__).parents[2]
PHOTOGRAPHS = ('astronaut.png', 'chelsea.png', 'rocket.jpg', 'motorcycle_left.png')


@pytest.fixture
def fresh(tmp_path):
    """What a clone holds that training needs, and a folder of photographs, in it."""
    for name in ('sst', 'options', 'scripts'):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'my pictures').mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(Path(skimage.data.__file__).parent / name, tmp_path / 'my pictures')
    return tmp_path


def paste(folder, options, *more):
    """Run the row of the README that names an option file, with further values."""
    (row,) = re.findall(rf'`(python sst/train.py -opt {options} [^`]*)`', (REPOSITORY / 'README.md').read_text())
    words = [word.replace('FOLDER', 'my pictures') for word in row.split()[1:]]
    done = subprocess.run(
        [sys.executable, *words, *more], cwd=folder, env=environment(), capture_output=True, text=True, timeout=1200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Traceback' not in done.stderr
    assert 'UserWarning' not in done.stderr
    return done


def psnr(model, photograph):
    lr = imresize(photograph, 0.5)
    error = np.float64(photograph) - np.float64(sst.load_model(model)(lr))
    return 10 * np.log10(255**2 / np.mean(error**2))


def test_fine_tuning(fresh):
    done = paste(fresh, 'options/finetune.yml', 'train:total_iter=10')
    assert 'prepare_data.py demo' in done.stderr  # what would make it validate
    tuned = fresh / 'experiments' / 'finetune' / 'models' / 'net_g_latest.pth'
    content = torch.load(tuned, weights_only=True)
    before, after = sst.from_pretrained('SST-tiny-x2').state_dict(), content['params']
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    unseen = skimage.data.coffee()[:240, :240]
    assert psnr(tuned, unseen) > psnr('SST-tiny-x2', unseen) - 0.1


@pytest.mark.parametrize('weights', ['SST-tiny-x4', 'SST-tiny-x2'])
def test_robust_training(fresh, weights):
    paste(fresh, 'options/train_robust_x4.yml', 'train:total_iter=1', f'path:pretrain_network_g={weights}')
    tuned = fresh / 'experiments' / 'train_robust_x4' / 'models' / 'net_g_latest.pth'
    assert sst.load_model(tuned)(np.zeros((9, 8, 3), np.uint8)).shape == (36, 32, 3)
