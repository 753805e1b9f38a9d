"""The weights that ship: small, complete, and better than bicubic interpolation on photographs they have never seen."""

import io
import json
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

import sst
from sst.checkpoints.description import describe
from sst.checkpoints.sources import shipped
from sst.driver.run import run_testing
from sst.models.images import write_png
from sst.ops.imresize import crop_to_multiple, imresize
from sst.options import load_options

GAIN = {'SST-tiny-x2': 1.5, 'SST-tiny-x3': 1.2, 'SST-tiny-x4': 1.0}  # dB on the photograph below
# dB on the parts of photographs below
FIGURES = {
    'SST-tiny-x2': 35.117,
    'SST-tiny-x3': 31.626,
    'SST-tiny-x4': 30.178,
    'SST-tiny-robust-x2': 34.517,
    'SST-tiny-robust-x4': 29.973,
}
MOST = 4_000_000  # bytes


def psnr(picture: np.ndarray, other: np.ndarray, border: int) -> float:
    weights = np.array([65.481, 128.553, 24.966]) / 255
    error = ((picture.astype(np.float64) - other) @ weights)[border:-border, border:-border]
    return float(10 * np.log10(255**2 / (error**2).mean()))


@pytest.mark.parametrize('name', shipped())
def test_each_file_is_small_and_tells_all(name):
    about = describe(shipped()[name])
    assert about['bytes'] <= MOST
    assert about['model'] == name
    assert name.endswith(f'-x{about["scale"]}')
    assert about['windows']
    assert about['metadata'].keys() >= {'training_data', 'licence', 'run'}


@pytest.mark.parametrize(('name', 'gain'), GAIN.items())
def test_better_than_bicubic(name, gain):
    upscale = sst.load_model(name, 'cpu')
    hr = crop_to_multiple(skimage.data.coffee()[..., :3], upscale.scale)
    lr = imresize(hr, 1 / upscale.scale)
    bicubic = imresize(lr, upscale.scale)
    assert psnr(upscale(lr), hr, upscale.scale) > psnr(bicubic, hr, upscale.scale) + gain


@pytest.mark.parametrize('scale', [2, 4])
def test_robust_weights_are_for_jpeg(scale):
    """They beat bicubic interpolation and the plain network on a picture that was compressed."""
    plain, robust = (sst.load_model(f'SST-tiny-{kind}x{scale}', 'cpu') for kind in ('', 'robust-'))
    hr = crop_to_multiple(skimage.data.coffee()[..., :3], scale)
    file = io.BytesIO()
    Image.fromarray(imresize(hr, 1 / scale)).save(file, 'JPEG', quality=40)
    lr = np.asarray(Image.open(file))
    others = max(psnr(imresize(lr, scale), hr, scale), psnr(plain(lr), hr, scale))
    assert psnr(robust(lr), hr, scale) > others + 0.3


@pytest.fixture
def photographs(tmp_path):
    """Parts of photographs that ship with scikit-image, with LR of every scale, as `options/test.yml` reads a set."""
    data = tmp_path / 'datasets' / 'benchmark' / 'Set5'
    for name in ('coffee', 'astronaut', 'chelsea'):
        hr = getattr(skimage.data, name)()[60:252, 60:252, :3]
        write_png(hr[..., ::-1], str(data / 'HR' / f'{name}.png'))
        for scale in (2, 3, 4):
            lr = imresize(hr, 1 / scale)
            write_png(lr[..., ::-1], str(data / 'LR_bicubic' / f'X{scale}' / f'{name}x{scale}.png'))
    return tmp_path


@pytest.mark.parametrize(('name', 'figure'), FIGURES.items())
def test_figures_by_test_yml(name, figure, photographs, monkeypatch):
    """`sst/test.py` finds the weights and gives their PSNR, whatever becomes of the code around them."""
    monkeypatch.setattr(sys, 'argv', ['sst/test.py'])
    monkeypatch.chdir(photographs)
    file = shipped()[name].parents[2] / 'options' / 'test.yml'
    changes = [f'scale={name[-1]}', f'path:pretrain_network_g={name}', 'num_gpu=0', 'val:num_workers=0']
    assert run_testing(photographs, ['-opt', str(file), '--force_yml', *changes]) == 0
    results = json.loads((photographs / 'results' / 'test' / 'metrics.json').read_text())
    assert results['Set5']['psnr'] == pytest.approx(figure, abs=0.01)


def test_test_yml_takes_them():
    root = shipped()['SST-tiny-x2'].parents[2] / 'options'
    for scale in (2, 3, 4):
        options = load_options(root / 'test.yml', [f'scale={scale}'])
        assert options['path']['pretrain_network_g'] == f'SST-tiny-x{scale}'


@pytest.mark.parametrize('name', shipped())
def test_half_precision_holds_them(name):
    """Most GPUs compute in it."""
    hr = skimage.data.coffee()[150:250, 250:350]
    exact, half = (sst.load_model(name, 'cpu', dtype)(hr) for dtype in ('float32', 'float16'))
    assert psnr(half, exact, 2) > 50
