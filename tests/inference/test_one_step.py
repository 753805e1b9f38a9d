"""SSTReal in tiles: each has its part of the noise, and of the padded and enlarged image, of the whole."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close, picture
from real_networks import lively

import sst
from sst.inference import OneStep, OneStepTiler, TileSize, build_predictor, memory, one_step_multiple
from sst.utils.errors import UserError


def soft(height, width, batch=1):
    """A random image without hard edges."""
    small = picture(height // 4 + 2, width // 4 + 2, batch)
    return F.interpolate(small, size=(height, width), mode='bicubic').clamp(0, 1)


def tiled(tiler, lr):
    return torch.cat(list(tiler.rows(lambda top, bottom: lr[..., top:bottom, :], *lr.shape[-2:])), dim=-2)


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    return lively().eval()


@pytest.mark.parametrize('shape', [(1, 1), (5, 90), (64, 64), (70, 130)])
def test_an_image_in_one_tile_is_that_of_the_network(net, shape):
    lr = soft(*shape)
    assert torch.equal(tiled(OneStepTiler(net, seed=2), lr), net.enlarge(lr, seed=2))


@pytest.mark.parametrize('shape', [(130, 200), (70, 260)])
def test_tiles_leave_no_seam(net, shape):
    lr = soft(*shape)
    whole = net.enlarge(lr)
    tiler = OneStepTiler(net, tile=64, overlap=32)
    assert max(map(len, tiler.cut(*shape))) > 1
    assert (tiled(tiler, lr) - whole).abs().max() < 1e-5
    # The test can fail: without an overlap the borders of tiles show.
    assert (tiled(OneStepTiler(net, tile=64, overlap=0), lr) - whole).abs().max() > 0.01


def test_as_a_network_from_lr_to_sr_it_has_gradients(net):
    lr = soft(5, 9).requires_grad_()
    sr = OneStep(net, seed=2)(lr)
    assert_close(sr.detach(), net.enlarge(lr.detach(), seed=2), 1e-5)
    sr.sum().backward()
    assert lr.grad is not None
    assert lr.grad.abs().max() > 0


def test_every_tile_has_its_own_part_of_the_noise(net):
    grey = torch.full((1, 3, 128, 64), 0.5)
    sr = tiled(OneStepTiler(net, tile=64, overlap=0), grey)
    assert not torch.allclose(sr[..., :256, :], sr[..., 256:, :], atol=0.01)


def test_where_memory_is_short_tiles_are_halved(net, monkeypatch):
    lr = soft(70, 260)
    whole, forward = net.enlarge(lr), net.forward

    def scarce(x, sigma, lq, guidance=None):
        if lq.shape[-1] > 260:
            raise torch.OutOfMemoryError('CUDA out of memory')
        return forward(x, sigma, lq, guidance)

    monkeypatch.setattr(net, 'forward', scarce)
    assert (tiled(OneStepTiler(net), lr) - whole).abs().max() < 1e-5


def test_the_self_ensemble_is_the_mean_over_turns_of_image_and_noise(net):
    lr = soft(64, 64)
    turned = []
    from sst.archs.sstreal_start import draw_noise

    for quarter in range(4):
        for flip in (False, True):

            def turn(image, quarter=quarter, flip=flip):
                return image.rot90(quarter, (-2, -1)).flip(-1) if flip else image.rot90(quarter, (-2, -1))

            def back(image, quarter=quarter, flip=flip):
                return (image.flip(-1) if flip else image).rot90(-quarter, (-2, -1))

            lq = 2 * turn(lr) - 1
            x = F.interpolate(lq, scale_factor=4, mode='bicubic') + turn(draw_noise(64, 64))
            with torch.no_grad():
                turned.append(back(net(x, 1.0, lq)))
    expected = ((torch.stack(turned).mean(0) + 1) / 2).clamp(0, 1)
    assert_close(tiled(OneStepTiler(net, ensemble=True), lr), expected, 1e-5)


@pytest.mark.parametrize('tile', [None, 64])
def test_validation_gives_what_the_network_gives(net, tile):
    lr = soft(130, 70)
    opt = {'val': {'tile': tile, 'tile_overlap': 32}, 'scale': 4, 'network_g': {'type': 'SSTReal'}, 'manual_seed': 7}
    assert_close(build_predictor(net, opt)(lr), net.enlarge(lr, seed=7), 1e-5)


@pytest.mark.parametrize('free', [10**8, 10**9, 10**10, 10**11])
def test_tiles_fit_free_memory(net, monkeypatch, free):
    monkeypatch.setattr(memory, 'free_memory', lambda device: free)
    size = TileSize(net, overlap=32, multiple=one_step_multiple(net))
    assert size(64, 64) is None
    assert size(60_000, 80_000) % 64 == 0


# ---- the Upscaler


def test_the_upscaler_takes_guidance_and_seed():
    lr, net = soft(20, 30), lively().eval()
    expected = net.enlarge(lr, guidance=1.2, seed=5)
    upscaler = sst.Upscaler(net, 'cpu', guidance=1.2, seed=5)
    assert upscaler.scale == 4
    assert_close(upscaler(lr), expected, 1e-6)
    assert_close(upscaler.with_noise(1.2, 6)(lr), net.enlarge(lr, guidance=1.2, seed=6), 1e-6)
    assert_close(upscaler(lr), expected, 1e-6)


def test_the_upscaler_takes_every_kind_of_image():
    upscaler = sst.Upscaler(lively().eval(), 'cpu', tile=64)
    grey_with_alpha = (255 * soft(9, 12)[0, :2].permute(1, 2, 0)).byte().numpy()
    assert upscaler(grey_with_alpha).shape == (36, 48, 2)
    assert upscaler(soft(9, 12, batch=2)).shape == (2, 3, 36, 48)
    assert upscaler.tiles(200, 100) == 3 * [(128, 128)]
    assert upscaler.memory(200, 100) > 0


@pytest.mark.parametrize('noise', [{'guidance': 1.0}, {'seed': 0}])
def test_other_networks_refuse_guidance_and_seed(noise):
    with pytest.raises(UserError, match='SST'):
        sst.load_model('SST-tiny-x2', 'cpu', **noise)
    with pytest.raises(UserError, match='SST'):
        sst.load_model('SST-tiny-x2', 'cpu').with_noise(**noise)


@pytest.mark.parametrize(('noise', 'words'), [({'guidance': 11}, 'guidance'), ({'seed': -1}, 'seed')])
def test_values_out_of_range_are_refused(noise, words):
    with pytest.raises(ValueError, match=words):
        sst.Upscaler(lively().eval(), 'cpu', **noise)


def test_numpy_images_are_those_of_tensors():
    upscaler, lr = sst.Upscaler(lively().eval(), 'cpu'), soft(10, 7)
    array = upscaler(lr[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(array, upscaler(lr)[0].permute(1, 2, 0).numpy(), atol=1e-6)
