"""The layers that oneDNN computes on CPUs against torch's modules, which compute where gradients are recorded."""

import pytest
import torch
from helpers import assert_close, tiny_options
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sst.archs import SST
from sst.archs.layers import Conv2d, ConvFFN
from sst.ops import depthwise_gelu_add, norm_linear, onednn

pytestmark = pytest.mark.skipif(not onednn.computes(torch.empty(1), torch.empty(1)), reason='torch has no oneDNN here')


def both(function):
    """The result of oneDNN and that of torch."""
    with torch.no_grad():
        fast = function()
    return fast, function().detach()


@settings(max_examples=25)
@given(st.integers(0, 2), st.integers(1, 20), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_linear_layers_of_any_size(batch, height, width, channels, outputs, strided):
    x = torch.randn(batch, height, width, channels)
    if strided:
        x = x.transpose(1, 2)
    norm, linear = nn.LayerNorm(channels), nn.Linear(channels, outputs)
    skip = torch.randn(*x.shape[:3], outputs)
    for options in ({}, {'activation': 'gelu'}, {'activation': 'sigmoid'}, {'skip': skip}):
        assert_close(*both(lambda options=options: norm_linear(x, norm, linear, **options)), 1e-6)


@pytest.mark.parametrize('channels', [1, 7, 72])
def test_depthwise_convolution(channels):
    h = torch.randn(2, 9, 13, channels)
    depthwise, before = Conv2d(channels, channels, 3, groups=channels), h.clone()
    assert_close(*both(lambda: depthwise_gelu_add(h, depthwise)), 1e-6)
    assert torch.equal(h, before)


def test_bfloat16_within_its_rounding():
    x, skip = torch.randn(2, 1, 11, 12, 48).unbind()
    ffn, norm = ConvFFN(48, 72).bfloat16(), nn.LayerNorm(48).bfloat16()
    with torch.no_grad():
        out = ffn(x.bfloat16(), norm, skip.bfloat16())
    exact = ffn.float()(x.bfloat16().float(), norm.float(), skip.bfloat16().float())
    assert out.dtype == torch.bfloat16
    assert_close(out.float(), exact.detach(), 1e-2)


def test_gradients_of_a_skip_or_a_bias_alone_are_recorded():
    linear, x = nn.Linear(4, 4).requires_grad_(False), torch.randn(1, 3, 3, 4)
    skip = torch.randn(1, 3, 3, 4, requires_grad=True)
    norm_linear(x, None, linear, skip=skip).sum().backward()
    assert torch.equal(skip.grad, torch.ones_like(skip))
    linear.bias.requires_grad_()
    norm_linear(x, None, linear).sum().backward()
    assert torch.equal(linear.bias.grad, torch.full((4,), 9.0))


def test_a_network_and_its_input_stay_as_they_are():
    net, image = SST(**tiny_options()), torch.rand(1, 3, 17, 21)
    before = image.clone()
    expected = net(image).detach()
    with torch.no_grad():
        first, second = net(image), net(image)
    assert torch.equal(image, before)
    assert torch.equal(first, second)
    assert_close(first, expected, 1e-6)
