"""The fused kernels against the reference: on the GPU, or on the CPU in Triton's interpreter (see conftest)."""

import gc
from itertools import product

import attention_cases
import pytest
import torch
from attention_cases import DEVICE, attend, compare, run
from helpers import assert_close, tiny_options
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.archs import SST
from sst.ops import RelativeTable, Rotation, UnsupportedBackendError, check_backend, window_attention
from sst.ops.backends import fused
from sst.ops.heads import pad_heads
from sst.ops.kernels import launch

pytestmark = pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # relative L2 error


def make_inputs(*sizes, **changes):
    return attention_cases.make_inputs(*sizes, device=DEVICE, **changes)


def assert_agrees(leaves, window=8, dtype=torch.float32, **options):
    compare('fused', leaves, window, TOLERANCE[dtype], dtype=dtype, **options)


SIZES = [(8, 8), (1, 1), (1, 9), (7, 13), (16, 16)]


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('window', [4, 8, 12, 16])
def test_agrees_with_reference_at_any_size(window, size):
    assert_agrees(make_inputs(*size, window), window)


@settings(max_examples=6)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(3, 9), st.data())
def test_agrees_with_reference_at_drawn_sizes(height, width, window, data):
    shift = data.draw(st.integers(0, window - 1))
    assert_agrees(make_inputs(height, width, window, head_dim=3, rank=2), window, shift=shift)


@pytest.mark.parametrize(('head_dim', 'rank'), [*product([16, 30, 32], [0, 8, 16, 18, 24, 34]), (5, 21)])
def test_heads_and_ranks_that_are_no_powers_of_two(head_dim, rank):
    assert_agrees(make_inputs(7, 11, head_dim=head_dim, rank=rank))


@pytest.mark.parametrize('size', [(16, 16), (13, 9), (5, 20), (1, 3)], ids=str)
@pytest.mark.parametrize('shift', [1, 4, 7])
def test_shift(shift, size):
    assert_agrees(make_inputs(*size), 8, shift=shift)


def test_without_a_gate():
    assert_agrees(make_inputs(9, 14, gated=False), 8)


def test_gradients_of_factors_are_summed_over_windows_and_batch():
    assert_agrees(make_inputs(9, 13, 4, head_dim=30, rank=18, batch=2), 4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('map_dtype', [torch.float32, torch.float16], ids=str)
def test_half_precision(map_dtype, dtype):
    if dtype == torch.bfloat16 and fused.INTERPRETED:
        pytest.skip("Triton's interpreter multiplies bfloat16 wrongly")
    assert_agrees(make_inputs(13, 17, head_dim=30, rank=34, dtype=map_dtype), dtype=dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize('backend', ['fused', 'sdpa', 'reference'])
@pytest.mark.parametrize(
    ('head_dim', 'rank', 'padding'), [(30, 34, 2), (30, 18, 2), (30, 0, 2), (30, 2, 2), (45, 24, 3), (13, 4, 9)]
)
def test_padding_of_heads_changes_nothing(head_dim, rank, padding, backend, dtype):
    leaves = make_inputs(7, 11, head_dim=head_dim, rank=rank, dtype=dtype)
    padded = leaves | {'qkv': pad_heads(leaves['qkv'], 6, padding).detach().requires_grad_()}
    out, gradients = run(padded, padding=padding, backend=backend, dtype=torch.float32)
    expected, expected_gradients = run(leaves, backend='reference')
    expected_gradients['qkv'] = pad_heads(expected_gradients['qkv'], 6, padding)
    assert_close(out, expected, TOLERANCE[dtype])
    for name, gradient in gradients.items():
        assert_close(gradient, expected_gradients[name], TOLERANCE[dtype], f'gradient of {name}')
    in_padding = gradients['qkv'].unflatten(-1, (6, -1))[..., head_dim:]
    assert not in_padding.any()


def test_padding_without_a_gate():
    leaves = make_inputs(9, 14, head_dim=30, gated=False)
    padded = leaves | {'qkv': pad_heads(leaves['qkv'], 6, 2)}
    results = [attend(leaves, backend='reference'), attend(padded, padding=2, backend='fused', dtype=torch.float32)]
    gradients = [torch.autograd.grad(result.square().sum(), list(leaves.values())) for result in results]
    for result, expected in zip((results[1], *gradients[1]), (results[0], *gradients[0]), strict=True):
        assert_close(result, expected, 1e-5)


@pytest.mark.parametrize('padding', [-1, 16])
def test_padding_is_less_than_a_head(padding):
    with pytest.raises(ValueError, match=f'0 to 15, less than the 16 channels of a head, not {padding}'):
        window_attention(torch.rand(1, 8, 8, 96), 8, 2, padding=padding)


@pytest.mark.parametrize('size', [3e-4, 1e3])
def test_gradients_of_any_size_fit_into_float16(size):
    leaves = make_inputs(32, 32, 32)
    grad = size * torch.randn_like(leaves['gate'])
    gradients = []
    for options in ({'backend': 'fused', 'dtype': torch.float16}, {'backend': 'reference'}):
        out = attend(leaves, 32, **options)
        gradients.append(torch.autograd.grad(out, list(leaves.values()), grad))
    for name, gradient, expected in zip(leaves, *gradients, strict=True):
        assert_close(gradient, expected, TOLERANCE[torch.float16], f'gradient of {name}')


def test_maps_that_are_not_contiguous():
    leaves = make_inputs(9, 14)
    strided = {name: leaves[name].detach().transpose(1, 2).requires_grad_() for name in ('qkv', 'gate')}
    assert_agrees(leaves | strided, 8)


def test_without_gradients():
    leaves = {name: leaf.detach() for name, leaf in make_inputs(9, 14).items()}
    out, expected = (attend(leaves, backend=backend, dtype=torch.float32) for backend in ('fused', 'reference'))
    assert_close(out, expected, 1e-5)


def test_factors_learn_where_the_map_needs_no_gradient():
    leaves = make_inputs(8, 8)
    leaves['qkv'], gradients = leaves['qkv'].detach(), []
    for backend in ('fused', 'reference'):
        out = attend(leaves, backend=backend, dtype=torch.float32)
        gradients.append(torch.autograd.grad(out.square().sum(), leaves['factor_q'])[0])
    assert_close(*gradients, 1e-5)


def test_the_operators_fulfil_what_torch_demands_of_operators():
    leaves = make_inputs(5, 6, 4, heads=1)
    tensors = (leaves['qkv'], leaves['factor_q'], leaves['factor_k'], leaves['gate'])
    torch.library.opcheck(torch.ops.sst.window_attention, (*tensors, 4, 1, 0, 0, torch.float32, True))


@pytest.fixture
def nets():
    """The same small network with the fused backend and with the reference."""
    options = tiny_options(backend='fused', attention_dtype='float32', num_blocks=1)
    net = SST(**options).to(DEVICE)
    other = SST(**options | {'backend': 'reference'}).to(DEVICE)
    other.load_state_dict(net.state_dict())
    return net, other


def test_the_whole_network_agrees_with_the_reference(nets):
    image = torch.rand(1, 3, 5, 7, device=DEVICE)
    results = [net(image) for net in nets]
    assert_close(*results, 1e-5)
    gradients = [
        torch.autograd.grad(result.square().sum(), list(net.parameters()))
        for net, result in zip(nets, results, strict=True)
    ]
    for (name, _), gradient, expected in zip(nets[0].named_parameters(), *gradients, strict=True):
        assert_close(gradient, expected, 1e-4, f'gradient of {name}')


def test_compiles_as_one_graph(nets):
    net, reference = nets
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    image = torch.rand(1, 3, 5, 7, device=DEVICE)
    result = compiled(image)
    assert_close(result, reference(image), 1e-5)
    result.square().sum().backward()
    weight = net.blocks[0].layers[0].attn.bias.query_weight
    assert weight.grad.norm() > 0


# ---- networks whose heads are padded


@pytest.fixture
def wide():
    """A network with heads of 30, prepared for the fused backend, and the same with the reference."""
    options = tiny_options(backend='fused', attention_dtype='float32', num_blocks=1, dim=60, num_heads=2)
    net = SST(**options).to(DEVICE)
    other = SST(**options | {'backend': 'reference'}).to(DEVICE)
    other.load_state_dict(net.state_dict())
    for each in (net, other):
        each.choose_kernels((8, 8), gradients=True)
    return net, other


@pytest.fixture
def projected(monkeypatch):
    """The channels of each qkv that the kernels read."""
    channels, original = [], fused.Fused.__call__
    spy = lambda self, inputs: channels.append(inputs.qkv.shape[-1]) or original(self, inputs)  # noqa: E731
    monkeypatch.setattr(fused.Fused, '__call__', spy)
    return channels


def test_a_network_pads_its_heads_and_stays_what_it_is(wide, projected):
    net, other = wide
    assert net.state_dict().keys() == other.state_dict().keys()
    assert {attention.padding for attention in other.attentions()} == {0}
    lr = torch.rand(1, 3, 5, 7, device=DEVICE)
    results = [each(lr) for each in wide]
    assert set(projected) == {3 * 2 * 32}
    assert_close(*results, 1e-5)
    gradients = [
        torch.autograd.grad(result.square().sum(), list(each.parameters()))
        for each, result in zip(wide, results, strict=True)
    ]
    for (name, weight), gradient, expected in zip(net.named_parameters(), *gradients, strict=True):
        assert gradient.shape == weight.shape
        assert_close(gradient, expected, 1e-4, f'gradient of {name}')


@torch.no_grad()
def test_padded_weights_are_kept_until_a_weight_changes(wide):
    net, other = (each.eval() for each in wide)
    lr = torch.rand(1, 3, 5, 7, device=DEVICE)
    attention = next(net.attentions())
    assert attention.padded_weights()[0] is attention.padded_weights()[0]
    assert_close(net(lr), other(lr), 1e-5)
    for each in wide:
        next(each.attentions()).qkv.weight.mul_(3)
    assert_close(net(lr), other(lr), 1e-5)
    for each in wide:
        next(each.attentions()).qkv.weight.data.mul_(2)  # changes no version
        each.eval()
    assert_close(net(lr), other(lr), 1e-5)


def test_another_backend_computes_what_was_prepared_for_this_one(wide):
    for attention in wide[0].attentions():
        attention.backend = 'sdpa'
    lr = torch.rand(1, 3, 5, 7, device=DEVICE)
    assert_close(*(each(lr) for each in wide), 1e-5)


def test_a_padded_network_compiles_as_one_graph(wide):
    net, other = wide
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    lr = torch.rand(1, 3, 5, 7, device=DEVICE)
    assert_close(compiled(lr), other(lr), 1e-5)


def test_heads_that_are_aligned_are_not_padded(nets, projected):
    net, _ = nets
    net.choose_kernels((8, 8))
    net(torch.rand(1, 3, 5, 7, device=DEVICE))
    assert {attention.padding for attention in net.attentions()} == {0}


# ---- the choice of this backend


def test_refuses_with_all_its_reasons():
    term = RelativeTable(torch.zeros(2, 49), 4)
    with pytest.raises(UnsupportedBackendError, match=r'meta.*float64.*RelativeTable.*64.*150'):
        check_backend(
            'fused', torch.device('meta'), torch.float64, dim=300, window=4, num_heads=2, term=term, dtype=None
        )


def test_refuses_rotations_before_anything_runs():
    rotation = Rotation(torch.zeros(2, 16, 4))
    with pytest.raises(UnsupportedBackendError, match='rotate'):
        check_backend('fused', torch.device(DEVICE), torch.float16, dim=16, window=4, num_heads=2, rotation=rotation)


def test_without_triton_it_says_what_to_install_and_auto_goes_on(monkeypatch):
    monkeypatch.setattr(fused, 'NO_TRITON', 'is not installed')
    qkv = torch.rand(1, 4, 4, 48)
    with pytest.raises(UnsupportedBackendError, match=r"pip install 'sst-sr\[fused\]'.*auto, (native, )?sdpa"):
        window_attention(qkv, 4, 1, backend='fused')
    assert window_attention(qkv, 4, 1).shape == (1, 4, 4, 16)


def test_on_the_cpu_it_needs_the_interpreter(monkeypatch):
    monkeypatch.setattr(fused, 'INTERPRETED', False)
    with pytest.raises(UnsupportedBackendError, match='CUDA device.*cpu'):
        window_attention(torch.rand(1, 4, 4, 48), 4, 1, backend='fused')


@pytest.mark.parametrize('grad', [True, False])
def test_a_factor_that_is_changed_in_place_counts(grad):
    leaves = make_inputs(7, 9, 4)
    with torch.set_grad_enabled(grad):
        first = attend(leaves, 4, backend='fused')
        assert_close(attend(leaves, 4, backend='fused'), first, 1e-7)
        with torch.no_grad():
            leaves['factor_k'].mul_(3)
        changed, expected = (attend(leaves, 4, backend=backend) for backend in ('fused', 'reference'))
    assert (changed - first).norm() > 0.01 * first.norm()
    assert_close(changed, expected, TOLERANCE[torch.float32])


def test_prepared_factors_live_as_long_as_the_factors():
    leaves = make_inputs(8, 8, 4)
    before = len(launch._prepared)
    with torch.no_grad():
        attend(leaves, 4, backend='fused')
    assert len(launch._prepared) == before + 2
    del leaves
    gc.collect()
    assert len(launch._prepared) == before


def test_factors_of_inference_mode():
    with torch.inference_mode():
        leaves = make_inputs(8, 8, 4)
        assert_close(*(attend(leaves, 4, backend=backend) for backend in ('fused', 'reference')), 1e-5)
