"""ELAN: published size and cost, batches, gradients, its frozen kernels and shared attention maps."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, multiply_adds, on_meta, parameters

from sst.rivals.elan_arch import ELAN, GMSA, SIZES, MeanShift, Shift

COUNTS = {2: (620_916, 582_012), 3: (629_031, 590_127), 4: (640_392, 601_488)}  # all, and without frozen kernels
PAPER_MULTIPLY_ADDS = {2: 203.1e9, 3: 90.1e9, 4: 54.1e9}  # for 1280x720
TINY = {'m_elan': 4, 'c_elan': 10, 'window_sizes': [2, 4]}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    net = on_meta(ELAN, scale=scale, **SIZES['ELAN-light'])
    assert (parameters(net), parameters(net, frozen=False)) == COUNTS[scale]


def test_defaults_are_the_published_size():
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()}
        for net in (on_meta(ELAN), on_meta(ELAN, **SIZES['ELAN-light']))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('scale', PAPER_MULTIPLY_ADDS)
def test_multiply_adds_stay_just_below_the_papers(scale):
    """torch counts products only: 1.1 to 1.4 % under the paper's figure."""
    net = on_meta(ELAN, scale=scale, **SIZES['ELAN-light'])
    assert 0.98 < multiply_adds(net, 720 // scale, 1280 // scale) / PAPER_MULTIPLY_ADDS[scale] < 1


@pytest.mark.parametrize('size', [(1, 1), (3, 2), (9, 14)], ids=str)
def test_batch_equals_single_images_at_any_size(size):
    result = check_batch(ELAN(**TINY, scale=3, rgb_range=1), *size)
    assert result.shape == (2, 3, 3 * size[0], 3 * size[1])
    assert result.isfinite().all()


def test_shift_shows_neighbours():
    x = torch.randn(1, 3, 4, 10)
    y = Shift(10)(x)
    for part, (dy, dx) in enumerate(((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))):
        beyond = torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1))[:, 1 + dy : 4 + dy, 1 + dx : 5 + dx]
        channels = slice(2 * part, 2 * part + 2)
        assert torch.equal(y[..., channels], beyond[..., channels])


def test_means_go_and_come_back():
    image = picture(3, 4)
    gone = MeanShift(3, -255)(255 * image)
    assert_close(gone[0, :, 0, 0], 255 * (image[0, :, 0, 0] - torch.tensor([0.4488, 0.4371, 0.4040])), 1e-6)
    assert_close(MeanShift(3, 255)(gone), 255 * image, 1e-6)


def test_later_layers_use_the_maps_of_the_first():
    """With the identity for a map, a layer is its two convolutions; with a mean, its result is even over a window."""
    layer, x = GMSA(4, (2, 4), False, computes_maps=False).eval(), torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        result = layer(x, [torch.eye(4).expand(4, 4, 4), torch.eye(16)[None]])
        assert_close(result, layer.project_out(layer.project_inp(x)), 1e-6)
        result = layer(x, [torch.full((4, 4, 4), 1 / 4), torch.full((1, 16, 16), 1 / 16)])
    assert_close(result[:, :2, :2], result[:, :1, :1].expand(1, 2, 2, 4), 1e-6)
    assert (result[:, 0, 0] - result[:, 2, 2]).abs().max() > 1e-3


@pytest.mark.parametrize('n_share', [0, 1, 3])
def test_only_the_first_layer_of_a_block_has_queries(n_share):
    net = on_meta(ELAN, **TINY, n_share=n_share)
    assert len(net.body) == 4 // (n_share + 1)
    for block in net.body:
        widths = [layer.project_inp[0].out_channels for layer in block.modules_gmsa.values()]
        assert widths == [20] + [10] * n_share


def test_gradients():
    check_gradients(ELAN(m_elan=2, c_elan=5, window_sizes=[2], rgb_range=1).eval(), 3, 5)


def test_training_step_leaves_frozen_kernels():
    net = ELAN(**TINY, rgb_range=1)
    check_training_step(net, 2, 8, 12)
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert len(frozen) == 4 + 4 * 2
    assert all(name.endswith('shift_conv.weight') or '_mean.' in name for name in frozen)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = ELAN(**TINY, rgb_range=1).eval(), picture(9, 14)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


@pytest.mark.parametrize('wrong', [{'c_elan': 12}, {'c_elan': 15}, {'m_elan': 5}, {'act_type': 'gelu'}], ids=str)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ELAN(**TINY | wrong)
