"""Pictures of every kind through `load_model`."""

import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from helpers import picture, tiny_options

import sst
from sst.archs import SST
from sst.inference import self_ensemble, tiled


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(3)
    return SST(**tiny_options()).eval()


@pytest.fixture(scope='module')
def file(net, tmp_path_factory):
    return sst.save_pretrained(net, tmp_path_factory.mktemp('weights') / 'Tiny-x2.safetensors', {'name': 'Tiny'})


@pytest.fixture(scope='module')
def upscaler(file):
    return sst.load_model(file, device='cpu')


def enlarged(net, image):
    """What the network makes of (B, 3, H, W), clipped."""
    with torch.no_grad():
        return net(image).clamp(0, 1)


def as_array(tensor):
    return tensor[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize('batch', [None, 1, 3])
def test_tensors(net, upscaler, batch, dtype):
    image = picture(7, 10, batch or 1).to(dtype)
    given = image if batch else image[0]
    result = upscaler(given)
    assert result.dtype == dtype
    assert result.shape == (*given.shape[:-2], 14, 20)
    expected = enlarged(net, image.float()).to(dtype)
    assert torch.equal(result, expected if batch else expected[0])


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_arrays(net, upscaler, dtype):
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    image = (np.random.default_rng(0).random((9, 6, 3)) * white).astype(dtype)
    before = image.copy()
    result = upscaler(image)
    assert result.dtype == dtype
    assert result.shape == (18, 12, 3)
    assert np.array_equal(image, before)
    tensor = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / white
    exact = as_array(enlarged(net, tensor)).astype(np.float64) * white
    assert np.abs(result - exact).max() <= (0.51 if white > 1 else 1e-3)


@pytest.mark.parametrize('shape', [(5, 8), (5, 8, 1)], ids=str)
def test_grey_arrays_stay_grey(net, upscaler, shape):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    result = upscaler(image)
    assert result.shape == (10, 16, *shape[2:])
    colour = enlarged(net, torch.from_numpy(image.reshape(1, 1, 5, 8)).expand(-1, 3, -1, -1))
    assert np.allclose(result.squeeze(), as_array(colour).mean(2), atol=1e-6)


@pytest.mark.parametrize(
    ('mode', 'result'),
    [('RGB', 'RGB'), ('L', 'L'), ('I;16', 'I;16'), ('1', 'L'), ('P', 'RGB'), ('CMYK', 'RGB'), ('YCbCr', 'RGB')],
)
def test_pillow(upscaler, mode, result):
    grey = (np.random.default_rng(0).random((6, 11)) * 65535).astype(np.uint16)
    image = PIL.Image.fromarray(grey) if mode == 'I;16' else PIL.Image.fromarray((grey >> 8).astype(np.uint8))
    image = image if mode == 'I;16' else image.convert(mode)
    sr = upscaler(image)
    assert (sr.mode, sr.size) == (result, (22, 12))
    plain = image if mode == 'I;16' else image.convert(result)
    assert np.array_equal(np.asarray(sr), upscaler(np.asarray(plain)))


def half_transparent(mode):
    """Light on the left, transparent black on the right."""
    if mode == 'P':
        image = PIL.Image.fromarray(np.repeat([[0] * 6 + [1] * 6], 12, axis=0).astype(np.uint8), 'P')
        image.putpalette([200] * 3 + [0] * 3)
        image.info['transparency'] = 1
        return image
    values = np.zeros((12, 12, len(mode)), np.uint8)
    values[:, :6] = [200] * (len(mode) - 1) + [255]
    return PIL.Image.fromarray(values, mode)


@pytest.mark.parametrize(('mode', 'result'), [('RGBA', 'RGBA'), ('LA', 'LA'), ('P', 'RGBA')])
def test_transparency(upscaler, mode, result):
    """What nobody sees does not bleed into the picture, and what is opaque stays so."""
    sr = upscaler(half_transparent(mode))
    assert (sr.mode, sr.size) == (result, (24, 24))
    opaque = upscaler(np.full((12, 12, len(result) - 1), 200, np.uint8))
    assert np.array_equal(np.asarray(sr)[..., :-1], opaque)
    assert np.asarray(sr)[:, :9, -1].min() == 255
    assert np.asarray(sr)[:, 15:, -1].max() == 0


@pytest.mark.parametrize('shape', [(6, 5, 4), (6, 5, 2)], ids=str)
def test_arrays_with_alpha(upscaler, shape):
    image = np.random.default_rng(0).random(shape)
    image[..., -1] = 1
    result = upscaler(image)
    assert result.shape == (12, 10, shape[2])
    colours = image[..., :-1]
    assert np.array_equal(result[..., :-1], upscaler(colours))
    assert np.allclose(result[..., -1], 1)


def test_non_contiguous_arrays(upscaler):
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(upscaler(image[:, ::-1]), upscaler(image[:, ::-1].copy()))


def test_one_pixel(upscaler):
    assert upscaler(np.zeros((1, 1, 3), np.uint8)).shape == (2, 2, 3)


FAULTS = {
    'a name': ('file.png', TypeError),
    'other integers': (np.zeros((4, 4, 3), np.int32), TypeError),
    'five channels': (np.zeros((4, 4, 5), np.uint8), ValueError),
    'no pixels': (np.zeros((4, 0, 3), np.uint8), ValueError),
    'up to 200': (np.full((4, 4, 3), 200.0), ValueError),
    'no numbers': (np.full((4, 4), np.nan), ValueError),
    'a tensor of integers': (torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError),
    'channels last': (torch.zeros(4, 4, 3), ValueError),
    'below zero': (torch.full((3, 4, 4), -9.0), ValueError),
    'open range': (PIL.Image.new('F', (4, 4)), ValueError),
}


@pytest.mark.parametrize(('image', 'kind'), FAULTS.values(), ids=FAULTS)
def test_images_that_are_refused(upscaler, image, kind):
    with pytest.raises(kind, match='.'):
        upscaler(image)


def test_tiles_and_ensemble(net, file):
    image = picture(40, 30)
    with torch.no_grad():
        expected = tiled(net, image, scale=2, tile=12, overlap=4, multiple=12).clamp(0, 1)
        turned = self_ensemble(net, image).clamp(0, 1)
    assert torch.equal(sst.load_model(file, 'cpu', tile=12, overlap=4)(image), expected)
    assert torch.equal(sst.load_model(file, 'cpu', ensemble=True)(image), turned)


@pytest.mark.parametrize('dtype', ['bfloat16', torch.bfloat16], ids=str)
def test_another_precision(net, file, dtype):
    upscaler = sst.load_model(file, 'cpu', dtype)
    assert repr(upscaler) == 'Upscaler(x2, bfloat16 on cpu)'
    image = picture(8, 8)
    assert (upscaler(image) - enlarged(net, image)).abs().max() < 0.02


def test_importing_sst_imports_no_more_than_training_needs():
    code = (
        'import sys, sst; late = {"sst.api", "huggingface_hub", "onnx", "spandrel"}; '
        'assert not late & set(sys.modules), late & set(sys.modules); sst.load_model; assert "sst.api" in sys.modules'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_pillow_s_16_bits_of_another_order_of_bytes(file):
    grey = np.arange(0, 60000, 1000, dtype=np.uint16).reshape(6, 10)
    upscale = sst.load_model(file, 'cpu')
    other = PIL.Image.frombytes('I;16B', (10, 6), grey.astype('>u2').tobytes())
    assert (np.asarray(upscale(other)) == upscale(grey)).all()


SETTINGS = [('tile', 0), ('tile', True), ('tile', 1.5), ('tile', 'large'), ('overlap', 'a'), ('overlap', -1)]


@pytest.mark.parametrize(('key', 'value'), [*SETTINGS, ('dtype', 'half-ish')])
def test_settings_that_are_refused(file, key, value):
    with pytest.raises(ValueError, match=key):
        sst.load_model(file, 'cpu', **{key: value})


def test_unknown_keywords_are_those_of_the_function_that_was_called():
    with pytest.raises(TypeError, match=r'^load_model\(\).*scal.*"scale"'):
        sst.load_model('SST-tiny-x2', 'cpu', scal=4)
