"""The fused layers against torch in float32: on the GPU, or on the CPU in Triton's interpreter (see conftest)."""

import copy

import pytest
import torch
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sst.archs.layers import Conv2d
from sst.ops import check_fused_layers, check_fused_training, depthwise_gelu_add, norm_linear
from sst.ops.backends import fused
from sst.ops.kernels import pointwise_op

pytestmark = pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')

DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # relative L2 error
DTYPES = [torch.float32, torch.float16] if fused.INTERPRETED else list(TOLERANCE)
SIZES = [(1, 1, 1), (2, 7, 13), (1, 17, 1), (1, 40, 37)]


@pytest.fixture(params=[DEVICE.type], autouse=True)
def device(request, monkeypatch):
    """In the tests' names, so that `-k cuda` finds them on a GPU. What torch computes in float32 is no less."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    return request.param


def make_layers(channels, outputs, dtype=torch.float32):
    """LayerNorm, projection and depthwise convolution of its outputs, none of their weights trivial."""
    layers = nn.ModuleList(
        (nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, outputs), Conv2d(outputs, outputs, 3, groups=outputs))
    )
    for parameter in layers[0].parameters():
        nn.init.normal_(parameter)
    return layers.to(DEVICE, dtype).requires_grad_(False)


def make_map(size, channels, dtype=torch.float32):
    return (torch.randn(*size, channels, device=DEVICE) * 2 + 0.5).to(dtype)


def compare(function, x, *layers, **options):
    """Fused in the map's dtype against torch in float32."""
    out = function(x, *layers, **options, fused=True)
    exact = [copy.deepcopy(layer).float() if layer is not None else None for layer in layers]
    expected = function(x.float(), *exact, **options)
    assert out.dtype == x.dtype
    assert_close(out.float(), expected, TOLERANCE[x.dtype])


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('channels', [(48, 72), (60, 75), (120, 150), (180, 225), (7, 11)], ids=str)
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_layers_of_any_size(size, channels, dtype):
    norm, linear, depthwise = make_layers(*channels, dtype)
    compare(norm_linear, make_map(size, channels[0], dtype), norm, linear, activation='gelu')
    compare(depthwise_gelu_add, make_map(size, channels[1], dtype), depthwise)


@pytest.mark.parametrize('activation', ['none', 'gelu', 'sigmoid'])
@pytest.mark.parametrize('normalised', [True, False])
def test_activations_with_and_without_norm(normalised, activation):
    norm, linear, _ = make_layers(48, 50)
    compare(norm_linear, make_map((1, 5, 7), 48), norm if normalised else None, linear, activation=activation)


@settings(max_examples=8)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_drawn_sizes(batch, height, width, channels, outputs):
    norm, linear, depthwise = make_layers(channels + 1, outputs)
    compare(norm_linear, make_map((batch, height, width), channels + 1), norm, linear)
    compare(depthwise_gelu_add, make_map((batch, height, width), outputs), depthwise)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('programs', [1, 8, 1000])
def test_blocks_of_a_gpu_however_the_work_is_cut(monkeypatch, programs, dtype):
    monkeypatch.setattr(pointwise_op, 'capability', lambda device: 90)
    monkeypatch.setattr(pointwise_op, 'PROGRAMS', programs)
    norm, linear, _ = make_layers(60, 211, dtype)  # in half precision four blocks of outputs, the last not whole
    compare(norm_linear, make_map((1, 9, 11), 60, dtype), norm, linear)


def test_tiles_of_a_gpu(monkeypatch):
    monkeypatch.setattr(pointwise_op, 'capability', lambda device: 90)
    _, _, depthwise = make_layers(1, 75)
    compare(depthwise_gelu_add, make_map((2, 9, 17), 75), depthwise)


def test_channels_far_from_zero_keep_their_variance():
    norm, linear, _ = make_layers(60, 75)
    x = make_map((1, 5, 7), 60) + 100
    out, expected = (norm_linear(x, norm, linear, fused=kernel) for kernel in (True, False))
    assert_close(out, expected, 1e-4)  # what subtracting 100 leaves of float32


def test_maps_that_are_not_contiguous():
    norm, linear, depthwise = make_layers(24, 20)
    compare(norm_linear, make_map((1, 5, 7), 24).transpose(1, 2), norm, linear)
    compare(depthwise_gelu_add, make_map((1, 5, 7), 20).transpose(1, 2), depthwise)


def test_gradients_of_projections_are_left_to_torch():
    norm, linear, _ = make_layers(12, 18)
    x = make_map((1, 5, 7), 12).requires_grad_()
    outs = (norm_linear(x, norm, linear, 'gelu', fused=kernel) for kernel in (True, False))
    assert torch.equal(*(torch.autograd.grad(out.square().sum(), x)[0] for out in outs))


def depthwise_gradients(h, depthwise, grad, **options):
    """Of h, weight and bias, in this order."""
    h = h.detach().requires_grad_()
    out = depthwise_gelu_add(h, depthwise, **options)
    return torch.autograd.grad(out, [h, depthwise.weight, depthwise.bias], grad)


def compare_gradients(h, depthwise):
    """Of the kernels in the map's dtype against torch in float32."""
    depthwise.requires_grad_()
    grad = torch.randn(h.shape, device=DEVICE).to(h.dtype)
    found = depthwise_gradients(h, depthwise, grad, fused=True)
    exact = depthwise_gradients(h.float(), copy.deepcopy(depthwise).float(), grad.float())
    for ours, theirs, argument in zip(found, exact, (h, depthwise.weight, depthwise.bias), strict=True):
        assert (ours.dtype, ours.shape) == (argument.dtype, argument.shape)
        assert_close(ours.float(), theirs, TOLERANCE[h.dtype])


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('channels', [75, 225, 11, 1])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_gradients_of_the_depthwise_step(size, channels, dtype):
    _, _, depthwise = make_layers(1, channels, dtype)
    compare_gradients(make_map(size, channels, dtype), depthwise)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_gradients_in_tiles_of_a_gpu(monkeypatch, dtype):
    monkeypatch.setattr(pointwise_op, 'capability', lambda device: 90)
    _, _, depthwise = make_layers(1, 75, dtype)
    compare_gradients(make_map((2, 17, 9), 75, dtype), depthwise)


def test_gradients_of_maps_that_are_not_contiguous():
    _, _, depthwise = make_layers(1, 20)
    compare_gradients(make_map((1, 5, 7), 20).transpose(1, 2), depthwise)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_gradients_repeat_to_the_bit(monkeypatch, dtype):
    monkeypatch.setattr(pointwise_op, 'capability', lambda device: 90)
    _, _, depthwise = make_layers(1, 33, dtype)
    depthwise.requires_grad_()
    h, grad = (make_map((1, 17, 9), 33, dtype) for _ in range(2))
    first, second = (depthwise_gradients(h, depthwise, grad, fused=True) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@pytest.mark.parametrize('asked', [(True, False, False), (False, True, True)], ids=str)
def test_gradients_of_some_arguments(asked):
    _, _, depthwise = make_layers(1, 18)
    h = make_map((1, 5, 7), 18)
    arguments = (h, depthwise.weight, depthwise.bias)
    for argument, wanted in zip(arguments, asked, strict=True):
        argument.requires_grad_(wanted)
    wanted = [argument for argument in arguments if argument.requires_grad]
    found, exact = (
        torch.autograd.grad(depthwise_gelu_add(h, depthwise, fused=kernel).square().sum(), wanted)
        for kernel in (True, False)
    )
    for pair in zip(found, exact, strict=True):
        assert_close(*pair, 1e-5)


def test_gradients_under_autocast_reach_weights_in_float32():
    _, _, depthwise = make_layers(1, 18)
    depthwise.requires_grad_()
    half = torch.bfloat16 if not fused.INTERPRETED else torch.float16
    h, grad = (make_map((1, 9, 7), 18, half) for _ in range(2))
    with torch.autocast(DEVICE.type, half):
        assert depthwise_gelu_add(h, depthwise, fused=True).dtype == half
        found = depthwise_gradients(h, depthwise, grad, fused=True)
    assert [gradient.dtype for gradient in found] == [half, torch.float32, torch.float32]
    for ours, theirs in zip(found, depthwise_gradients(h.float(), depthwise, grad.float()), strict=True):
        assert_close(ours.float(), theirs, TOLERANCE[half])


def test_gradients_compile_as_one_graph():
    _, _, depthwise = make_layers(1, 18)
    depthwise.requires_grad_()
    h, grad = (make_map((1, 5, 7), 18) for _ in range(2))
    expected = depthwise_gradients(h, depthwise, grad, fused=True)
    compiled = torch.compile(depthwise_gelu_add, fullgraph=True, backend='aot_eager')
    h.requires_grad_()
    found = torch.autograd.grad(compiled(h, depthwise, fused=True), [h, depthwise.weight, depthwise.bias], grad)
    for pair in zip(found, expected, strict=True):
        assert_close(*pair, 1e-6)


def test_kernels_that_cannot_train_here_are_refused(monkeypatch):
    check_fused_training(DEVICE, torch.float32)
    with pytest.raises(ValueError, match='float64'):
        check_fused_training(DEVICE, torch.float64)
    monkeypatch.setattr(fused, 'NO_TRITON', 'is not installed')
    with pytest.raises(ValueError, match=r"train\.fused_layers.*pip install 'sst-sr\[fused\]'"):
        check_fused_training(DEVICE, torch.float32)


def test_the_operators_fulfil_what_torch_demands_of_operators():
    norm, linear, depthwise = make_layers(12, 18)
    weights = (norm.weight, norm.bias, norm.eps, linear.weight, linear.bias)
    torch.library.opcheck(torch.ops.sst.norm_linear, (make_map((1, 3, 4), 12), *weights, 'gelu'))
    arguments = (make_map((1, 3, 4), 18), depthwise.weight, depthwise.bias)
    torch.library.opcheck(torch.ops.sst.depthwise_gelu_add, arguments)
    wanted = [argument.clone().requires_grad_() for argument in arguments]
    torch.library.opcheck(torch.ops.sst.depthwise_gelu_add, wanted)
    torch.library.opcheck(torch.ops.sst.depthwise_gelu_add_backward, (make_map((1, 3, 4), 18), *arguments))


def test_without_triton_torch_computes(monkeypatch):
    norm, linear, depthwise = make_layers(12, 18)
    x = make_map((1, 5, 7), 12)
    monkeypatch.setattr(fused, 'NO_TRITON', 'is not installed')
    h = norm_linear(x, norm, linear, 'gelu', fused=True)
    assert torch.equal(h, nn.functional.gelu(linear(norm(x))))
    assert torch.equal(depthwise_gelu_add(h, depthwise, fused=True), h + nn.functional.gelu(depthwise(h)))
    with pytest.raises(ValueError, match=r"pip install 'sst-sr\[fused\]'"):
        check_fused_layers(DEVICE, torch.float32, 12)


def test_more_channels_than_fit_are_refused_by_the_check_and_computed_by_torch():
    norm, linear, _ = make_layers(300, 5)
    x = make_map((1, 2, 3), 300)
    assert_close(norm_linear(x, norm, linear, fused=True), linear(norm(x)), 1e-6)
    with pytest.raises(ValueError, match='256.*300'):
        check_fused_layers(DEVICE, torch.float32, 300)


def test_under_autocast_torch_computes():
    norm, linear, _ = make_layers(12, 18)
    x = make_map((1, 5, 7), 12)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        out, expected = (norm_linear(x, norm, linear, 'gelu', fused=kernel) for kernel in (True, False))
    assert out.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(out, expected)
