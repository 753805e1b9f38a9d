"""ESC: published sizes and costs, batches, gradients, its shared and dynamic kernels and its bias."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, multiply_adds, on_meta, parameters

from sst.archs.conv_attention import DynamicKernel, turned_mean
from sst.rivals.esc_arch import ESC, SIZES, WindowAttention
from sst.rivals.parts import relative_index

COUNTS = {
    'ESC': {2: 946_728, 3: 955_383, 4: 967_500},
    'ESC-light': {2: 603_600, 3: 612_255, 4: 624_372},
    'ESC-XL': {2: 12_455_916, 3: 12_481_851, 4: 12_518_160},
}
PAPER_MULTIPLY_ADDS = {2: 592.0e9, 3: 267.6e9, 4: 149.2e9}  # for 1280x720
TINY = {'dim': 8, 'pdim': 4, 'kernel_size': 5, 'n_blocks': 2, 'conv_blocks': 2, 'window_size': 4, 'num_heads': 2}


def tiny(**changes):
    """A network whose dynamic kernels are not zero."""
    net = ESC(**TINY | changes)
    for module in net.modules():
        if isinstance(module, DynamicKernel):
            module.dwc_proj[3].reset_parameters()
    return net


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', SIZES)
def test_published_counts(size, scale):
    assert parameters(on_meta(ESC, upscaling_factor=scale, **SIZES[size])) == COUNTS[size][scale]


def test_defaults_are_the_published_size():
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()}
        for net in (on_meta(ESC), on_meta(ESC, **SIZES['ESC']))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('scale', PAPER_MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(scale):
    """Products only: half a per cent under the paper's figure."""
    net = on_meta(ESC, upscaling_factor=scale, **SIZES['ESC'])
    assert 0.99 < multiply_adds(net, 720 // scale, 1280 // scale) / PAPER_MULTIPLY_ADDS[scale] < 1


@pytest.mark.parametrize('size', [(1, 1), (3, 2), (9, 14)], ids=str)
def test_batch_equals_single_images_at_any_size(size):
    result = check_batch(tiny(use_ln=True, upscaling_factor=3), *size)
    assert result.shape == (2, 3, 3 * size[0], 3 * size[1])
    assert result.isfinite().all()


def test_dynamic_kernels_of_a_batch_are_exactly_those_of_single_images():
    layer, x = DynamicKernel(4), torch.randn(3, 6, 7, 4)
    layer.dwc_proj[3].reset_parameters()
    with torch.no_grad():
        assert torch.equal(layer(x), torch.cat([layer(image[None]) for image in x]))


def test_dynamic_kernel_starts_at_zero():
    assert not DynamicKernel(4)(torch.randn(1, 6, 7, 4)).any()


def test_large_kernel_is_turned():
    kernel = turned_mean(torch.randn(4, 4, 5, 5))
    for turned in (kernel.flip(-1), kernel.flip(-2), kernel.rot90(1, (-2, -1))):
        assert_close(turned, kernel, 1e-6)


def test_bias_belongs_to_key_minus_query():
    """A bias at (dy, dx) alone lets the query at (y, x) see the key at (y + dy, x + dx)."""
    layer, (dy, dx) = WindowAttention(4, 4, 2), (1, -2)
    x = torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        layer.relative_position_bias.zero_()[:, (dy + 3) * 7 + dx + 3] = 1000
        seen = layer(x, relative_index(4).T)
        v = layer.to_qkv(x).chunk(3, dim=-1)[2]
        assert_close(seen[0, :3, 2:], layer.to_out(v)[0, 1:, :2], 1e-6)


def test_gradients():
    net = tiny(dim=4, pdim=2, kernel_size=3, n_blocks=1, conv_blocks=1, window_size=2, use_ln=True)
    check_gradients(net, 3, 5)


@pytest.mark.parametrize('use_ln', [False, True])
def test_training_step(use_ln):
    check_training_step(tiny(use_ln=use_ln), 2, 8, 10)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = tiny().eval(), picture(9, 14)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


@pytest.mark.parametrize('wrong', [{'num_heads': 3}, {'pdim': 9}, {'pdim': 1}, {'kernel_size': 4}], ids=str)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        tiny(**wrong)
