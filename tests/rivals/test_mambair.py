"""MambaIR: published sizes, batches, gradients, and what its scans see."""

import pytest
import torch
from helpers import assert_close, picture

from sst.rivals.mambair_arch import SIZES, FourWayScan, MambaIR

COUNTS = {'MambaIR': (20421863, 20606503, 20569575), 'MambaIR-light': (905016, 913131, 924492)}


def tiny(**changes):
    options = {'embed_dim': 30, 'depths': [2, 1], 'd_state': 3, 'mlp_ratio': 1.2, 'upsampler': 'pixelshuffledirect'}
    return MambaIR(**options | changes)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('name', SIZES)
def test_published_counts(name, scale):
    with torch.device('meta'):
        net = MambaIR(upscale=scale, **SIZES[name])
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name][scale - 2]


def test_defaults_are_the_full_size():
    with torch.device('meta'):
        assert MambaIR().state_dict().keys() == MambaIR(**SIZES['MambaIR']).state_dict().keys()


@pytest.mark.parametrize('upsampler', ['pixelshuffle', 'pixelshuffledirect'])
@pytest.mark.parametrize('size', [(1, 1), (9, 14)], ids=str)
def test_batch_equals_single_images(size, upsampler):
    net, images = tiny(upsampler=upsampler).eval(), picture(*size, batch=2)
    with torch.no_grad():
        together = net(images)
        assert_close(together, torch.cat([net(image[None]) for image in images]), 1e-6)
    assert together.shape == (2, 3, 2 * size[0], 2 * size[1])


def test_training_step_lowers_the_loss():
    net, image, target = tiny(drop_path_rate=0.0), picture(8, 9), picture(16, 18)
    optimiser = torch.optim.SGD(net.parameters(), 1e-3)
    before = (net(image) - target).square().mean()
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    optimiser.step()
    assert (net(image) - target).square().mean() < before


def test_gradcheck_of_four_scans():
    layer = FourWayScan(4, 4, 2).double()
    assert torch.autograd.gradcheck(layer, torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize('pixel', [(0, 0), (2, 1), (4, 3)], ids=str)
def test_every_pixel_sees_every_other(pixel):
    x = torch.randn(1, 5, 4, 8, requires_grad=True)
    FourWayScan(8, 8, 2)(x)[0, *pixel].sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


def test_scans_are_dropped_more_often_the_deeper():
    rates = [block.drop_path.rate for group in tiny().layers for block in group.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype):
    net, image = tiny().eval(), picture(6, 7)
    with torch.no_grad():
        expected = net(image)
        assert_close(net.to(dtype)(image.to(dtype)).float(), expected, 3e-2)


def test_meta():
    with torch.device('meta'):
        assert tiny()(torch.empty(1, 3, 20, 30)).shape == (1, 3, 40, 60)


@pytest.mark.parametrize(('field', 'value'), [('img_range', 255.0), ('embed_dim', 24)])
def test_bad_arguments(field, value):
    with pytest.raises(ValueError, match=f'{field} is {value}'):
        tiny(**{field: value})
