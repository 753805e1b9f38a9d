"""RDN: published size and cost, batches, gradients, what its convolutions see."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, multiply_adds, on_meta, parameters

from sst.rivals.rdn_arch import RDN, SIZES, DenseLayer

COUNTS = {2: 22_123_395, 3: 22_308_035, 4: 22_271_107}
PAPER_MULTIPLY_ADDS = {2: 5096.2e9, 3: 2281.2e9, 4: 1309.2e9}  # for 1280x720
TINY = {'G0': 6, 'D': 2, 'C': 3, 'G': 4}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert parameters(on_meta(RDN, scale=scale, **SIZES['RDN'])) == COUNTS[scale]


def test_defaults_are_the_published_size():
    assert parameters(on_meta(RDN)) == COUNTS[2]


@pytest.mark.parametrize('scale', PAPER_MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(scale):
    net = on_meta(RDN, scale=scale, **SIZES['RDN'])
    counted = multiply_adds(net, 720 // scale, 1280 // scale)
    assert counted == pytest.approx(PAPER_MULTIPLY_ADDS[scale], rel=1e-4)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (7, 10)], ids=str)
def test_batch_equals_single_images_at_any_size(size, scale):
    assert check_batch(RDN(**TINY, scale=scale), *size).shape == (2, 3, scale * size[0], scale * size[1])


def test_a_layer_keeps_what_it_sees():
    x = torch.randn(1, 5, 3, 4)
    result = DenseLayer(5, 2)(x)
    assert torch.equal(result[:, :5], x)
    assert result.shape[1] == 7
    assert (result[:, 5:] >= 0).all()


def test_gradients():
    check_gradients(RDN(G0=3, D=2, C=2, G=2, scale=4), 3, 4)


def test_training_step():
    check_training_step(RDN(**TINY, scale=3), 3, 6, 8)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = RDN(**TINY).eval(), picture(6, 9)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


def test_refused():
    with pytest.raises(ValueError, match='scale must be 2, 3 or 4, not 5'):
        RDN(scale=5)
