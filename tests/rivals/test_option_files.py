"""options/rivals: each own size at each scale, and tests that run from option file to PSNR."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img
from helpers import write_noise

from sst.driver.run import run_testing
from sst.inference.grid import grid_tiled
from sst.inference.padding import padded
from sst.options import load_options
from sst.rivals.sizes import PUBLISHED, published

OPTIONS = Path(__file__).parents[2] / 'options'
TEST = """\
_base_: [{options}/_base_/runtime.yml]
name: rival
scale: {scale}
num_gpu: 0
network_g: {network}
path: {{pretrain_network_g: net.pth}}
datasets:
  test_1: {{name: Two, type: PairedImageDataset, dataroot_gt: HR, dataroot_lq: LR}}
val: {{pbar: false{val}}}
"""
# What the published tests do with images, beside what the networks do themselves.
GRID = {'MambaIR', 'MambaIRv2Light', 'ART'}
TO_WINDOW = {'ESC'}


@pytest.mark.parametrize('name', PUBLISHED)
def test_option_file_is_the_published_size(name):
    for scale in (2, 3, 4):
        options = load_options(OPTIONS / 'rivals' / f'{name}.yml', [f'scale={scale}'])
        given = published(name, scale)
        assert options['network_g'] == given
        assert options['name'] == name


@pytest.mark.parametrize('name', ['art_a', 'asid_a', 'cat_a', 'elan_a', 'esc_a', 'hitsrf_a', 'ipg_a', 'mambair_a',
                                  'mambairv2_a', 'pft_a', 'rdn_a'])  # fmt: skip
def test_from_option_file_to_psnr(case, name, tmp_path, monkeypatch):
    golden = case(name)
    scale, kind, net = golden.output.shape[-1] // golden.input.shape[-1], golden.options['type'], golden.net
    torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    expected = []
    for index, (height, width) in enumerate([(17, 24), (20, 13)]):
        lr = write_noise(tmp_path / f'LR/{index}.png', height, width, index)
        hr = write_noise(tmp_path / f'HR/{index}.png', scale * height, scale * width, 9 + index)
        image = torch.from_numpy(lr[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        expected.append(calculate_psnr(tensor2img(_tested(net, kind, image, scale)), hr, scale, test_y_channel=True))
    val = ', tile_grid: 16' if kind in GRID else ''
    network = json.dumps(golden.options)
    (tmp_path / 'test.yml').write_text(TEST.format(options=OPTIONS, scale=scale, network=network, val=val))
    monkeypatch.setattr(sys, 'argv', ['sst/test.py'])
    monkeypatch.chdir(tmp_path)
    assert run_testing(tmp_path, ['-opt', str(tmp_path / 'test.yml')]) == 0
    figures = json.loads((tmp_path / 'results/rival/metrics.json').read_text())
    assert figures['Two']['psnr'] == pytest.approx(np.mean(expected), abs=2e-3)  # rounding of 8 bits


def _tested(net, kind, image, scale):
    factor = getattr(net, 'rgb_range', 1)

    def predict(lr):
        return net(factor * lr) / factor

    with torch.no_grad():
        if kind in GRID:
            return grid_tiled(predict, image, scale=scale, size=16)
        return padded(predict, image, scale=scale, multiple=net.window if kind in TO_WINDOW else 1)
