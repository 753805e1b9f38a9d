"""Files of ESC-RIB: released ones as they are, ours, and the start of a larger scale."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close, picture, tiny_escrib
from released import escrib_names, golden

import sst
from sst import info
from sst.archs import ESCRIB
from sst.checkpoints.description import describe
from sst.checkpoints.fitting import MisfitError, load_weights
from sst.checkpoints.pretrained import MissingOptionsError, from_pretrained, save_pretrained
from sst.inference.padding import padded

RELEASED = {
    'attn_type': 'RIB',
    'gate_type': 'DWC',
    'dim': 64,
    'pdim': 16,
    'kernel_size': 13,
    'n_blocks': 5,
    'conv_blocks': 5,
    'window_size': 64,
    'exp_ratio': 1.25,
    'upsampler_type': 'pixelshuffle_direct',
    'lns': [],
}


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A file with the released names and shapes of ESC-RIB at x3, and its weights."""
    shapes = escrib_names(RELEASED | {'upscaling_factor': 3})
    for b in range(5):  # four heads, 32 hidden channels, rank 16
        bias = {'to_hidden': (42, 32), 'hidden_b': (1, 32), 'to_q': (4, 32, 16), 'to_k': (4, 32, 16)}
        shapes |= {f'blocks.{b}.attn.{name}': shape for name, shape in bias.items()}
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}
    file = tmp_path_factory.mktemp('files') / 'ESCRIB_DFLIP_X3.pth'
    torch.save({'params': weights, 'params_ema': weights}, file)
    return file, weights


def test_the_released_file_has_the_published_tensors(published):
    _, weights = published
    assert len(weights) == 439
    assert sum(value.numel() for value in weights.values()) == 1_016_451


def test_a_released_file_loads_as_it_is_and_extends_images_as_published(published):
    file, _ = published
    net = from_pretrained(file)
    assert (type(net), net.windows, net.scale, net.options['num_heads']) == (ESCRIB, (64,), 3, 4)
    image = picture(20, 33)
    with torch.no_grad():
        expected = net(F.pad(torch.cat([image, image.flip(2)[:, :, 1:]], 2), (0, 31, 0, 25), 'reflect'))
    upscale = sst.load_model(file, 'cpu')
    assert_close(upscale(image), expected[..., :60, :99].clamp(0, 1), 1e-6)
    assert upscale.tiles(20, 33) == [(20, 33)]


def test_info_names_the_model(published, capsys):
    assert info.main([str(published[0])]) == 0
    shown = capsys.readouterr().out
    assert 'ESC-RIB' in shown
    assert 'x3' in shown
    about = describe(published[0])
    assert (about['names'], about['windows'], about['parameters']) == ('released', [64], 1_016_451)


def test_another_window_can_be_given(published):
    assert from_pretrained(published[0], network_g={'window_size': 32}).windows == (32,)


def test_the_window_of_another_size_is_asked_for(tmp_path):
    weights, options, image, expected = golden('escrib_x2')
    torch.save({'params': weights}, tmp_path / 'net.pth')
    with pytest.raises(MissingOptionsError, match='window_size'):
        from_pretrained(tmp_path / 'net.pth')
    net = from_pretrained(tmp_path / 'net.pth', network_g={'window_size': options['window_size']})
    with torch.no_grad():
        assert_close(net(image), expected, 2e-6)


BIASES = [{'type': 'RPB'}, {'type': 'FlashBias', 'ranks': 3}, {'type': 'RoPE'}, {'type': 'none'}]


@pytest.mark.parametrize('bias', BIASES, ids=lambda bias: bias['type'])
@pytest.mark.parametrize('place', ['net.safetensors', 'folder'])
def test_round_trip_to_the_bit(tmp_path, place, bias):
    net = ESCRIB(**tiny_escrib(bias=bias, use_ln=True, scale=4, pad_to_window=False)).eval()
    save_pretrained(net, tmp_path / place, {'training_data': 'noise'})
    again = from_pretrained(tmp_path / place)
    assert again.options == net.options
    image = picture(9, 7)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))
        assert_close(sst.load_model(tmp_path / place, 'cpu')(image), net(image).clamp(0, 1), 1e-6)


@pytest.mark.parametrize(('change', 'words'), [({'dim': 8}, 'dim is 8'), ({'use_ln': True}, 'use_ln is True')], ids=str)
def test_a_misfit_says_what_the_file_holds(tmp_path, change, words):
    torch.save(ESCRIB(**tiny_escrib(**change)).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(MisfitError, match=words):
        load_weights(ESCRIB(**tiny_escrib()), str(tmp_path / 'net.pth'))


def test_weights_of_sst_are_told_apart(tmp_path):
    torch.save(sst.from_pretrained('SST-tiny-x2').state_dict(), tmp_path / 'net.pth')
    with pytest.raises(MisfitError, match='type is SST in the file, ESCRIB in network_g'):
        load_weights(ESCRIB(**tiny_escrib()), str(tmp_path / 'net.pth'))


@pytest.mark.parametrize(('old', 'new'), [(2, 3), (3, 4), (2, 4)])
def test_weights_of_a_smaller_scale_start_a_larger_one(tmp_path, old, new):
    torch.manual_seed(0)
    small, large = ESCRIB(**tiny_escrib(scale=old)).eval(), ESCRIB(**tiny_escrib(scale=new)).eval()
    torch.save(small.state_dict(), tmp_path / 'net.pth')
    load_weights(large, str(tmp_path / 'net.pth'), transfer=True)
    assert torch.equal(large.plk_filter, small.plk_filter)
    before, after = (net.upsampler.up.bias.reshape(1, 3, net.scale, net.scale) for net in (small, large))
    assert_close(after, F.interpolate(before, size=(new, new), mode='bilinear', align_corners=False), 1e-6)


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (4, 4), (9, 13)], ids=str)
def test_extension_to_whole_windows_at_any_size(size):
    net, image = ESCRIB(**tiny_escrib(window_size=8)).eval(), picture(*size)
    seen = []

    def predict(lr):
        seen.append(lr)
        return net(lr)

    with torch.no_grad():
        result = padded(predict, image, scale=2, multiple=8)
    assert result.shape == (1, 3, 2 * size[0], 2 * size[1])
    (lr,) = seen
    for axis in (2, 3):
        assert lr.shape[axis] % 8 == 0
        period = max(2 * (image.shape[axis] - 1), 1)
        repeated = lr.narrow(axis, period, lr.shape[axis] - period) if lr.shape[axis] > period else None
        if repeated is not None:  # the reflection goes on periodically
            assert torch.equal(repeated, lr.narrow(axis, 0, repeated.shape[axis]))
