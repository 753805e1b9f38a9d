"""A network prepared for inference: the same function, at the precision asked for."""

import pytest
import torch
from helpers import tiny_options
from torch import nn

from sst.archs import SST

UPSAMPLERS = [
    {'type': 'pixelshuffle_direct'},
    {'type': 'pixelshuffle', 'channels': 8},
    {'type': 'nearest_conv', 'channels': 8},
]


def network(**options):
    torch.manual_seed(0)
    return SST(**tiny_options(num_blocks=1, **options)).eval()


@pytest.mark.parametrize('upsampler', UPSAMPLERS, ids=lambda upsampler: upsampler['type'])
@pytest.mark.parametrize(
    ('dtype', 'most'), [(None, 1e-6), (torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)]
)
def test_what_is_added_to_the_picture_is_as_exact_as_the_dtype(upsampler, dtype, most):
    net = network(upsampler=upsampler)
    lr = torch.rand(1, 3, 9, 13)
    with torch.no_grad():
        before = net(lr)
        after = net.optimize_for_inference(dtype)(lr)
    assert after.dtype == torch.float32
    skip = nn.functional.interpolate(lr, scale_factor=2) if upsampler['type'] != 'nearest_conv' else 0
    assert (after - before).norm() < most * (before - skip).norm()


def test_the_picture_itself_is_not_rounded():
    net = network()
    with torch.no_grad():
        for parameter in (net.upsampler.up.weight, net.upsampler.up.bias):
            parameter.zero_()
    lr = torch.rand(1, 3, 5, 6)
    enlarged = nn.functional.interpolate(lr, scale_factor=2)
    assert torch.equal(net.optimize_for_inference(torch.float16)(lr), enlarged)


def test_the_positional_tables_keep_their_precision():
    net = network()
    bias = net.blocks[0].layers[0].attn.bias
    before = bias.term()
    net.optimize_for_inference(torch.float16)
    assert torch.equal(bias.term().q, before.q)
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match='float32, float16 or bfloat16'):
        network().optimize_for_inference(torch.float64)
