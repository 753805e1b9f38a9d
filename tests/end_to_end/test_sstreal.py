"""SSTReal through sst/test.py: options/test_SSTReal_x4.yml on a small network."""

import json

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers import tiny_real_options, write_noise
from real_networks import golden_case, lively
from runs import REPOSITORY, run

import sst
from sst.interop.official import network_options
from sst.ops.imresize import imresize
from sst.options import OptionsError, checked_options


@pytest.fixture
def folder(tmp_path):
    """A working folder with images of 100 x 96 pixels, their HR images, weights and an option file."""
    (tmp_path / 'LR').mkdir()
    for index in range(2):
        hr = write_noise(tmp_path / 'HR' / f'p{index}.png', 400, 384, seed=index)
        cv2.imwrite(str(tmp_path / 'LR' / f'p{index}.png'), imresize(hr, 1 / 4))
    torch.manual_seed(0)
    sst.save_pretrained(lively(), tmp_path / 'net.safetensors')
    write(tmp_path, {'type': 'SSTReal', **tiny_real_options()}, 'net.safetensors')
    return tmp_path


def write(folder, network, weights, **more):
    options = {
        '_base_': [f'{REPOSITORY}/options/test_SSTReal_x4.yml'],
        'name': 'real',
        'network_g': network,
        'path': {'pretrain_network_g': weights},
        'datasets': {'test_1': {'dataroot_lq': 'LR'}},
    }
    (folder / 'real.yml').write_text(yaml.safe_dump(options | more), encoding='utf-8')


def test_without_hr(folder):
    done = run(folder, 'sst-test', '-opt', 'real.yml')
    assert 'NIQE' in done.stdout
    results = folder / 'results' / 'real'
    (means,) = json.loads((results / 'metrics.json').read_text()).values()
    assert means.keys() == {'niqe', 'images'}
    upscaler = sst.load_model(folder / 'net.safetensors', 'cpu')
    for name in ('p0', 'p1'):
        written = cv2.imread(str(results / 'visualization' / 'real' / f'{name}_real.png'))[..., ::-1]
        lr = cv2.imread(str(folder / 'LR' / f'{name}.png'))[..., ::-1]
        assert np.abs(written.astype(int) - upscaler(np.ascontiguousarray(lr))).max() <= 1
        compared = cv2.imread(str(results / 'visualization' / 'real' / f'{name}_real_compared.png'))[..., ::-1]
        bicubic = imresize(np.ascontiguousarray(lr), 4)
        assert np.array_equal(compared, np.hstack([bicubic, written]))


def test_with_hr_in_tiles(folder):
    pairs = {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': 'HR', 'dataroot_lq': 'LR', 'prepare': '-'}
    psnr = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}}
    write(
        folder,
        {'type': 'SSTReal', **tiny_real_options()},
        'net.safetensors',
        datasets={'test_1': pairs},
        val={'metrics': psnr},
    )
    figures = []
    for name, more in (('whole', []), ('tiles', ['val:tile=64']), ('other', ['manual_seed=1'])):
        run(folder, 'sst-test', '-opt', 'real.yml', '--force_yml', f'name={name}', *more)
        figures.append(json.loads((folder / 'results' / name / 'metrics.json').read_text())['pairs']['psnr'])
    assert figures[1] == pytest.approx(figures[0], abs=1e-3)
    assert figures[2] != figures[0]


def test_released_weights_and_options(folder):
    weights, fields, _ = golden_case()
    torch.save({'params_ema': weights}, folder / 'released.pth')
    write(folder, fields, 'released.pth')
    done = run(folder, 'sst-test', '-opt', 'real.yml')
    assert 'NIQE' in done.stdout
    net = sst.from_pretrained(folder / 'released.pth', network_g=network_options(fields))
    lr = torch.from_numpy(cv2.imread(str(folder / 'LR' / 'p0.png'))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    written = cv2.imread(str(folder / 'results' / 'real' / 'visualization' / 'real' / 'p0_real.png'))[..., ::-1]
    expected = (255 * net.enlarge(lr)[0]).round().permute(1, 2, 0).numpy()
    assert np.abs(written - expected).max() <= 1


@pytest.mark.parametrize('option', ['val.graphs=1000', 'val.tile_grid=64', 'scale=2'])
def test_what_it_cannot_is_refused(folder, option):
    key = option.partition('=')[0]
    with pytest.raises(OptionsError, match=key):
        checked_options(folder / 'real.yml', [option.replace('.', ':')])
