"""A network prepared for inference: the same function, at the precision asked for."""

import copy

import pytest
import torch
from helpers import assert_close, tiny_options
from torch import nn

from sst.archs import SST
from sst.ops.backends import fused

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


# ---- the fused layers, in Triton's interpreter where there is no GPU

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
needs_triton = pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')


@needs_triton
@pytest.mark.parametrize(('dtype', 'most'), [(torch.float32, 1e-5), (torch.float16, 2e-3)], ids=str)
@pytest.mark.parametrize(
    'changes',
    [{'gate': 'CLA', 'dim': 48, 'num_heads': 3}, {'gate': 'pointwise'}, {'gate': 'none'}],
    ids=lambda changes: changes['gate'],
)
def test_cuda_fused_layers_are_the_same_network(changes, dtype, most, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    net = network(**changes, attention_dtype='float32').to(DEVICE)
    plain = copy.deepcopy(net).optimize_for_inference(torch.float32)
    lr = torch.rand(2, 3, 9, 13, device=DEVICE)
    with torch.no_grad():
        expected = plain(lr)
        result = net.optimize_for_inference(dtype, fused=True)(lr)
    enlarged = nn.functional.interpolate(lr, scale_factor=2)
    assert not torch.equal(result, expected)  # they were used
    assert (result - expected).norm() < most * (expected - enlarged).norm()
    assert net.state_dict().keys() == plain.state_dict().keys()


@needs_triton
def test_fused_layers_compile_as_one_graph():
    net = network().to(DEVICE).optimize_for_inference(torch.float32, fused=True)
    lr = torch.rand(1, 3, 5, 7, device=DEVICE)
    with torch.no_grad():
        expected = net(lr)
        assert_close(torch.compile(net, fullgraph=True, backend='aot_eager')(lr), expected, 1e-6)


def test_what_cannot_be_is_refused_before_the_network_is_touched(monkeypatch):
    monkeypatch.setattr(fused, 'INTERPRETED', False)
    net = network()
    with pytest.raises(ValueError, match='fused.*(Triton|cpu)'):
        net.optimize_for_inference(torch.float16, fused=True)
    with pytest.raises(ValueError, match='CUDA device.*cpu'):
        net.optimize_for_inference(torch.float16, graphs=1000)
    with pytest.raises(ValueError, match='graphs'):
        net.optimize_for_inference(graphs=-1)
    assert net.stem.weight.dtype == torch.float32
