"""The metrics of pyiqa by a stand-in for pyiqa, whose weights a test cannot fetch."""

import sys
import types

import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric

from sst.metrics import perceptual, require_packages
from sst.models.evaluation import evaluate
from sst.utils.errors import UserError

PSNR = {'type': 'calculate_psnr', 'crop_border': 2, 'better': 'higher'}


@pytest.fixture
def pyiqa(monkeypatch):
    """A pyiqa whose metrics are the mean of the red channel, or of its difference; holds the names asked for."""
    module = types.ModuleType('pyiqa')
    module.asked = []

    def create_metric(name, device):
        module.asked.append(name)
        return lambda sr, hr=0: (sr - hr)[:, 0].mean()

    module.create_metric = create_metric
    monkeypatch.setitem(sys.modules, 'pyiqa', module)
    perceptual._load.cache_clear()
    yield module
    perceptual._load.cache_clear()


@pytest.mark.parametrize('name', ['lpips', 'dists'])
def test_pictures_go_in_as_rgb_without_border(pyiqa, name):
    hr = np.zeros((8, 9, 3), np.uint8)
    sr = hr.copy()
    sr[2:-2, 2:-2, 2] = 51  # red
    options = {'type': f'calculate_{name}', 'crop_border': 2, 'better': 'lower'}
    assert calculate_metric({'img': sr, 'img2': hr}, options) == pytest.approx(0.2)
    calculate_metric({'img': sr, 'img2': hr}, options)
    assert pyiqa.asked == [name]


@pytest.mark.parametrize(
    ('name', 'asked'),
    [('musiq', 'musiq'), ('maniqa', 'maniqa'), ('clipiqa', 'clipiqa'), ('topiq', 'topiq_nr'), ('liqe', 'liqe')],
)
def test_sets_without_hr_have_metrics_that_need_none(pyiqa, name, asked):
    sr = np.zeros((3, 12, 10, 3), np.uint8)
    sr[:, 1:-1, 1:-1, 2] = 51  # red
    options = {'type': f'calculate_{name}', 'crop_border': 1, 'better': 'higher'}
    dataset = [{'lq': torch.zeros(3, 6, 5), 'lq_path': f'{index}.png'} for index in range(3)]
    images = iter(torch.from_numpy(sr[..., ::-1].copy()).permute(0, 3, 1, 2)[:, None] / 255)
    rows = evaluate(dataset, lambda batch: next(images), {name: options, 'psnr': PSNR}, num_workers=0)
    assert [row.values for row in rows] == 3 * [{name: pytest.approx(0.2)}]
    assert pyiqa.asked == [asked]


@pytest.mark.parametrize(
    ('fault', 'said'),
    [
        (OSError('no route'), 'cannot fetch its weights'),
        (ImportError('No module named x'), r"pip install --upgrade 'sst-sr\[perceptual\]'"),
    ],
    ids=['without connection', 'without a package'],
)
def test_networks_that_cannot_be_made(pyiqa, fault, said):
    def failing(name, device):
        raise fault

    pyiqa.create_metric = failing
    with pytest.raises(UserError, match=said):
        perceptual.calculate_lpips(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))


def test_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    require_packages(['calculate_psnr', 'calculate_ssim'])
    with pytest.raises(UserError, match=r"pip install 'sst-sr\[perceptual\]'"):
        require_packages(['calculate_psnr', 'calculate_lpips'])
