"""The scan in chunks, and its kernels, against the recurrence as it is written, step by step in float64."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.ops.backends import fused
from sst.ops.kernels.scan_op import scan_forward
from sst.ops.selective_scan import chunked_gradients, chunked_scan, chunks_of, selective_scan

DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
SIZES = st.tuples(*(st.integers(1, most) for most in (2, 3, 40, 9, 5)))  # batch, groups, positions, channels, states


def recurrence(u, delta, a, b, c, d):
    h = u.new_zeros(*u.shape[:2], *a.shape[1:])
    y = []
    for t in range(u.shape[2]):
        step = delta[:, :, t, :, None]
        h = (step * a).exp() * h + step * u[:, :, t, :, None] * b[:, :, t, None]
        y.append((h * c[:, :, t, None]).sum(-1) + d * u[:, :, t])
    return torch.stack(y, dim=2)


def arguments(batch, groups, length, channels, states, dtype=torch.float64):
    """u, delta, a, b, c, d; strong and weak decays."""
    u, delta = torch.randn(2, batch, groups, length, channels, dtype=dtype, device=DEVICE)
    b, c = torch.randn(2, batch, groups, length, states, dtype=dtype, device=DEVICE)
    a = -torch.rand(groups, channels, states, dtype=dtype, device=DEVICE).mul(8).exp2() / 8
    return u, F.softplus(delta), a, b, c, torch.randn(groups, channels, dtype=dtype, device=DEVICE)


@settings(max_examples=30)
@given(SIZES, st.integers(1, 45))
def test_any_number_of_chunks(size, chunks):
    u, delta, a, b, c, d = arguments(*size)
    y, _ = chunked_scan(u, delta, a, b, c, chunks)
    assert_close(y + d[:, None] * u, recurrence(u, delta, a, b, c, d), 1e-13)


@settings(max_examples=20)
@given(SIZES, st.integers(1, 45))
def test_gradients_of_any_number_of_chunks(size, chunks):
    *inputs, d = (x.requires_grad_() for x in arguments(*size))
    y = recurrence(*inputs, torch.zeros_like(d))
    grad = torch.randn_like(y)
    expected = torch.autograd.grad(y, inputs, grad)
    with torch.no_grad():
        _, starts = chunked_scan(*inputs, chunks)
        gradients = chunked_gradients(grad, *inputs, starts)
    for name, own, other in zip(('u', 'delta', 'a', 'b', 'c'), gradients, expected, strict=True):
        assert_close(own, other, 1e-12, name, floor=1e-6)


@pytest.mark.parametrize('length', [1, 7, 12])
def test_gradcheck(length):
    inputs = [x.requires_grad_() for x in arguments(1, 2, length, 2, 3)]
    assert torch.autograd.gradcheck(selective_scan, inputs)


def test_operators_keep_torch_rules():
    inputs = [x.requires_grad_() for x in arguments(1, 2, 9, 3, 2)[:5]]
    torch.library.opcheck(
        torch.ops.sst.selective_scan.default,
        (*inputs, 4, True),
        test_utils=('test_schema', 'test_autograd_registration', 'test_faketensor'),
    )


@pytest.mark.parametrize('size', [(1, 4, 600, 6, 5), (2, 1, 577, 12, 16)], ids=str)
def test_float32_of_long_sequences(size):
    inputs = arguments(*size)
    assert_close(selective_scan(*(x.float() for x in inputs)), recurrence(*inputs), 1e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_float32_inside(dtype):
    inputs = [x.to(dtype) for x in arguments(1, 2, 50, 4, 3)]
    y = selective_scan(*inputs)
    assert y.dtype == dtype
    assert torch.equal(y, selective_scan(*(x.float() for x in inputs)).to(dtype))


@pytest.mark.parametrize(('length', 'chunks'), [(1, 1), (2, 2), (4, 2), (50, 8), (640 * 360, 512)])
def test_about_the_root_of_the_length_many_chunks(length, chunks):
    assert chunks_of(torch.empty(1, 4, length, 6, device='meta'), torch.empty(4, 6, 3, device='meta')) == chunks


def test_meta():
    assert selective_scan(*(x.to('meta') for x in arguments(1, 4, 9, 3, 2))).shape == (1, 4, 9, 3)


@pytest.mark.parametrize('wrong', range(1, 6))
def test_wrong_shapes(wrong):
    inputs = list(arguments(2, 2, 5, 4, 3))
    inputs[wrong] = inputs[wrong][:1] if wrong not in (2, 5) else inputs[wrong][:, :1]
    with pytest.raises(ValueError, match=r'it must be \('):
        selective_scan(*inputs)


def test_compile_keeps_the_scan_whole_for_any_length():
    compiled = torch.compile(selective_scan, fullgraph=True, dynamic=True, backend='aot_eager')
    for length in (9, 30, 41):
        inputs = [x.requires_grad_() for x in arguments(1, 2, length, 3, 2)]
        y, expected = compiled(*inputs), selective_scan(*inputs)
        assert_close(y, expected, 1e-14)
        assert_close(*(torch.autograd.grad(result.sum(), inputs[1])[0] for result in (y, expected)), 1e-14)


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
@settings(max_examples=8)
@given(SIZES, st.integers(1, 12))
def test_kernels(size, chunks):
    inputs = arguments(*size)[:5]
    expected, starts = chunked_scan(*inputs, chunks)
    y, own_starts = scan_forward(*(x.float() for x in inputs), chunks)
    assert_close(y, expected, 2e-6)
    assert_close(own_starts, starts, 2e-6)


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
def test_kernels_in_blocks_of_channels():
    inputs = arguments(1, 2, 9, 70, 5)[:5]
    assert_close(scan_forward(*(x.float() for x in inputs))[0], chunked_scan(*inputs)[0], 2e-6)
