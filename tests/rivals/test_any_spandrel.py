"""Files that spandrel reads go through load_model, sst-info and option files as ours do."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from helpers import assert_close, picture

import sst
from sst import info, upscale
from sst.checkpoints.pretrained import MissingOptionsError
from sst.options import load_options
from sst.utils.errors import UserError

spandrel = pytest.importorskip('spandrel')
SWIN = {'img_size': 16, 'window_size': 8, 'depths': [2], 'num_heads': [2], 'upscale': 2}
FILES = {
    'ESRGAN': {'num_filters': 8, 'num_blocks': 1},
    'Compact': {'num_feat': 8, 'num_conv': 2, 'upscale': 4},
    'SPAN': {'num_in_ch': 3, 'num_out_ch': 3, 'feature_channels': 8, 'upscale': 2},
    'RealPLKSR': {'dim': 8, 'n_blocks': 2, 'upscaling_factor': 2},
    'SwinIR': SWIN | {'embed_dim': 12, 'upsampler': 'pixelshuffledirect'},
    'HAT': SWIN | {'embed_dim': 48, 'squeeze_factor': 4, 'upsampler': 'pixelshuffle'},
    'RCAN': {'n_resgroups': 1, 'n_resblocks': 1, 'n_feats': 16, 'scale': 2},
    'NAFNet': {'width': 8, 'enc_blk_nums': [1], 'dec_blk_nums': [1]},
}
SCALES = {'ESRGAN': 4, 'Compact': 4, 'NAFNet': 1}  # others: 2
PLACES = {'RealPLKSR': 'PLKSR'}


def network(name, **changes):
    torch.manual_seed(2)
    module = import_module(f'spandrel.architectures.{PLACES.get(name, name)}')
    return getattr(module, name)(**FILES.get(name, {}) | changes).eval()


@pytest.fixture
def written(tmp_path):
    """Writes a network's weights as other programs do; gives the file."""

    def write(name, **changes):
        torch.save(network(name, **changes).state_dict(), tmp_path / f'{name}.pth')
        return tmp_path / f'{name}.pth'

    return write


@pytest.mark.parametrize('name', FILES)
def test_values_are_spandrels(written, name):
    file, image = written(name), picture(21, 30)
    expected = spandrel.ModelLoader('cpu').load_from_file(file)(image.clone())
    upscaler = sst.load_model(file, 'cpu')
    assert upscaler.scale == SCALES.get(name, 2)
    assert_close(upscaler(image), expected, 1e-6, name)


@pytest.mark.parametrize('name', ['ESRGAN', 'HAT', 'RealPLKSR'])
def test_saved_networks_load_again(written, tmp_path, name):
    net = sst.from_pretrained(written(name))
    again = sst.from_pretrained(sst.save_pretrained(net, tmp_path / 'again.safetensors'))
    image = picture(16, 24)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))


def test_tiles_equal_the_whole_image(written):
    file, image = written('SwinIR'), picture(144, 50)  # so tiles begin at multiples of its window
    whole = sst.load_model(file, 'cpu', tile=None)(image)
    tiled = sst.load_model(file, 'cpu', tile=24, overlap=24)
    assert len(tiled.tiles(144, 50)) > 1
    assert (tiled(image) - whole).abs().max() < 2e-3  # windows lie alike, the attention of few pixels sees less


def test_images_with_alpha_and_16_bits(written):
    image = np.random.default_rng(0).integers(0, 65536, (13, 17, 4), np.uint16)
    result = sst.load_model(written('Compact'), 'cpu')(image)
    assert (result.shape, result.dtype) == ((52, 68, 4), np.uint16)


def test_programs(written, tmp_path, capsys):
    file = str(written('ESRGAN'))
    assert info.main([file]) == 0
    assert 'ESRGAN' in capsys.readouterr().out
    from PIL import Image

    Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(tmp_path / 'a.png')
    command = ['-n', file, '--device', 'cpu', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png')]
    assert upscale.main(command) == 0
    assert Image.open(tmp_path / 'b.png').size == (36, 32)


def test_option_files(written, tmp_path):
    (tmp_path / 'any.yml').write_text(
        yaml.safe_dump(
            {
                'name': 'any',
                'model_type': 'SSTModel',
                'network_g': {'type': 'from_weights'},
                'path': {'pretrain_network_g': str(written('SPAN'))},
                'datasets': {'test_1': {'name': 'A', 'type': 'DownsampleImageDataset', 'dataroot_gt': 'x'}},
                'val': {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}},
            }
        )
    )
    options = load_options(tmp_path / 'any.yml')
    assert options['scale'] == 2
    assert options['network_g']['architecture'] == 'SPAN'


def test_gradients_reach_all_weights(written):
    net = sst.from_pretrained(written('Compact')).train()
    net(picture(12, 12)).mean().backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_another_size_says_what_differs(written, tmp_path):
    options = sst.from_pretrained(written('Compact')).network_g
    torch.save(network('Compact', num_conv=3).state_dict(), tmp_path / 'other.pth')
    with pytest.raises(UserError, match='num_conv is 3 in the file, 2 in network_g$'):
        sst.from_pretrained(tmp_path / 'other.pth', network_g=options)


def test_other_images_than_rgb_are_refused(written):
    with pytest.raises(UserError, match='RGB'):
        sst.load_model(written('Compact', num_in_ch=1, num_out_ch=1), 'cpu')


def test_broken_weights_are_refused(written, tmp_path):
    state = torch.load(written('Compact'))
    state['body.2.weight'] = torch.zeros(5, 5)
    torch.save(state, tmp_path / 'broken.pth')
    with pytest.raises(UserError, match=r'^[^\n]+$'):
        sst.load_model(tmp_path / 'broken.pth', 'cpu')


def test_without_spandrel_one_line_says_what_to_install(written, monkeypatch):
    file = written('SPAN')
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    with pytest.raises(MissingOptionsError, match=r"^[^\n]*pip install 'sst-sr\[spandrel\]'[^\n]*$"):
        sst.from_pretrained(file)


def test_float16_that_overflows_goes_on_in_float32(written, tmp_path):
    net = network('Compact')
    with torch.no_grad():
        net.body[0].weight *= 3e5
        net.body[0].bias *= 0
        net.body[2].weight /= 3e5
        net.body[2].bias *= 0
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    image = picture(12, 14)
    exact = sst.load_model(tmp_path / 'net.pth', 'cpu')(image)
    half = sst.load_model(tmp_path / 'net.pth', 'cpu', 'float16')
    with pytest.warns(UserWarning, match='float32'):
        assert torch.equal(half(image), exact)
    assert half.dtype is torch.float32
