import logging
import re

import pytest
import torch
from attention_cases import attend, compare, make_inputs
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.ops import (
    Factored,
    RelativeTable,
    Rotation,
    Term,
    UnsupportedBackendError,
    available_backends,
    window_attention,
)
from sst.ops.backends import base, flash

HEADS, DIM = 2, 10
SMALL = {'head_dim': 5, 'rank': 3, 'batch': 2}


def small_inputs(height, width, window, **changes):
    return make_inputs(height, width, window, **SMALL | changes)


def assert_agrees(backend, leaves, window, tolerance, **options):
    compare(backend, leaves, window, tolerance, 4 * tolerance, **options)


SIZES = [(8, 8), (1, 1), (7, 13), (3, 20), (17, 5)]


@pytest.mark.parametrize('kind', ['factored', 'table', 'rotation', 'nothing'])
@pytest.mark.parametrize('window', [1, 4, 9, 12])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_sdpa_agrees_with_reference(size, window, kind):
    assert_agrees('sdpa', small_inputs(*size, window, kind=kind), window, 3e-6)  # exp of torch's kernel errs by 20 ulp


@pytest.mark.parametrize('window', [4, 9])
def test_sdpa_without_gradients_agrees_with_reference(window):
    leaves = small_inputs(7, 13, window)
    with torch.no_grad():
        out, expected = (attend(leaves, window, backend=backend) for backend in ('sdpa', 'reference'))
    assert_close(out, expected, 1e-6)


@settings(max_examples=30)
@given(st.integers(1, 18), st.integers(1, 18), st.integers(1, 7))
def test_any_size_keeps_its_shape_and_agrees(height, width, window):
    leaves = small_inputs(height, width, window)
    out = attend(leaves, window)
    expected = attend(leaves, window, backend='reference')
    assert out.shape == (2, height, width, DIM)
    assert_close(out, expected, 1e-5)


def test_reference_is_the_equation():
    leaves = small_inputs(4, 4, 4, dtype=torch.double)
    out = attend(leaves, 4, backend='reference')
    q, k, v = leaves['qkv'].reshape(2, 16, 3, HEADS, 5).unbind(2)
    expected = torch.empty(2, 16, HEADS, 5, dtype=torch.double)
    for head in range(HEADS):
        bias = leaves['factor_q'][head] @ leaves['factor_k'][head].T
        logits = q[:, :, head] @ k[:, :, head].transpose(1, 2) / 5**0.5 + bias
        expected[:, :, head] = logits.softmax(-1) @ v[:, :, head]
    assert_close(out, expected.reshape(2, 4, 4, DIM) * leaves['gate'], 1e-12)


def test_reference_gradients_by_finite_differences():
    leaves = small_inputs(3, 4, 3, dtype=torch.double)
    names = list(leaves)

    def function(*tensors):
        return attend(dict(zip(names, tensors, strict=True)), 3, backend='reference')

    assert torch.autograd.gradcheck(function, tuple(leaves.values()))


def test_table_is_indexed_by_key_minus_query():
    window = 3
    table = torch.arange(25.0).reshape(1, 25)
    bias = RelativeTable(table, window).materialize()[0]
    for query in range(9):
        for key in range(9):
            dy, dx = key // 3 - query // 3 + 2, key % 3 - query % 3 + 2
            assert bias[query, key] == table[0, dy * 5 + dx]


def test_rotation_depends_on_relative_position_only():
    angle = torch.arange(6.0)[None, :, None].expand(HEADS, 6, 2)  # a token's position is its angle
    q, k = torch.randn(1, 1, HEADS, 4).expand(1, 6, -1, -1), torch.randn(1, 1, HEADS, 4).expand(1, 6, -1, -1)
    rotation = Rotation(angle)
    logits = torch.einsum('mqhd,mkhd->mhqk', rotation.apply(q), rotation.apply(k))
    assert_close(logits[..., 1:, 1:], logits[..., :-1, :-1], 1e-5)


def test_rotation_by_large_angles_survives_half_precision():
    angle = torch.rand(HEADS, 16, 4) * 90
    tokens = torch.randn(1, 16, HEADS, 5)
    assert_close(Rotation(angle).apply(tokens.bfloat16()), Rotation(angle).apply(tokens), 1e-2)


def test_reference_computes_in_float32_whatever_is_asked():
    leaves = small_inputs(7, 5, 4)
    expected = attend(leaves, 4, backend='reference')
    out = attend(leaves, 4, backend='reference', dtype=torch.bfloat16)
    assert torch.equal(out, expected)


def test_shift_rolls_the_padded_map():
    leaves = small_inputs(8, 8, 4, gated=False)
    shifted = attend(leaves, 4, shift=2)
    rolled = attend(leaves | {'qkv': leaves['qkv'].roll((-2, -2), (1, 2))}, 4)
    assert_close(shifted, rolled.roll((2, 2), (1, 2)), 1e-6)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_near_and_keeps_the_dtype_of_the_map(dtype):
    leaves = small_inputs(9, 6, 4)
    out = attend(leaves, 4, dtype=dtype)
    assert out.dtype == torch.float32
    assert_close(out, attend(leaves, 4), 2e-2)


def test_autocast_does_not_lower_the_precision_asked_for():
    leaves = small_inputs(8, 8, 4)
    expected = attend(leaves, 4)
    with torch.autocast('cpu', torch.bfloat16):
        out = attend(leaves, 4, dtype=torch.float32)
    assert_close(out, expected, 1e-6)


# ---- the choice of a backend


def test_unknown_backend_names_those_there_are():
    leaves = small_inputs(4, 4, 4)
    with pytest.raises(UnsupportedBackendError, match=r'sdpa.*reference'):
        attend(leaves, 4, backend='flesh')


def test_a_backend_that_cannot_serve_gives_all_its_reasons_and_who_can():
    leaves = small_inputs(4, 4, 4, kind='table')
    with pytest.raises(UnsupportedBackendError, match=r'CUDA.*float16.*RelativeTable.*auto, sdpa, reference'):
        attend(leaves, 4, backend='flash')


def test_auto_logs_its_choice_once(caplog):
    from sst.ops.attention import _log_once

    _log_once.cache_clear()
    leaves = small_inputs(4, 4, 4)
    with caplog.at_level(logging.INFO, 'basicsr'):
        for _ in range(2):
            attend(leaves, 4)
    (message,) = [record.message for record in caplog.records if 'backend' in record.message]
    assert re.fullmatch('Window attention: backend (native|sdpa) on cpu in float32.', message)


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match='3C'):
        window_attention(torch.rand(1, 4, 4, 31), 4, 2)


@pytest.mark.parametrize(
    ('window', 'shapes'), [(0, ((2, 0, 3),) * 2), (4, ((2, 9, 3),) * 2), (4, ((2, 16, 3), (2, 16, 4)))]
)
def test_windows_and_factors_that_do_not_fit_are_refused(window, shapes):
    with pytest.raises(ValueError, match='window|factors'):
        window_attention(torch.rand(1, 4, 4, 3 * DIM), window, HEADS, Factored(*map(torch.rand, shapes)))


def test_every_backend_is_listed():
    assert available_backends() == ('fused', 'flash', 'native', 'flex', 'sdpa', 'reference')


# ---- FlashAttention, replaced by functions that enforce what the real kernels require


def strict_flash_attn_func(q, k, v, softmax_scale=None):
    """Computes what flash_attn_func of FlashAttention 2 computes and refuses what it refuses."""
    assert v.shape == k.shape, 'head sizes must be equal'
    return strict_attention(q, k, v, softmax_scale, 256)


def strict_cute_flash_attn_func(q, k, v, qv=None, gather_kv_indices=None, softmax_scale=None):
    """The same of FlashAttention 4, on Blackwell: v may have heads of another size, and all are at most 128 wide."""
    return strict_attention(q, k, v, softmax_scale, 128), None


def strict_attention(q, k, v, softmax_scale, widest):
    for name, tensor in (('q', q), ('k', k), ('v', v)):
        assert tensor.dtype in (torch.float16, torch.bfloat16), f'{name}: {tensor.dtype}'
        assert tensor.dtype == q.dtype
        assert tensor.dim() == 4
        assert tensor.stride(-1) == 1, f'{name} must have a contiguous last dimension'
        assert tensor.shape[-1] % 8 == 0, f'head size {tensor.shape[-1]} is no multiple of 8'
        assert 8 <= tensor.shape[-1] <= widest
    batch, _, heads, _ = q.shape  # (batch, tokens, heads, size)
    assert k.shape == (batch, *k.shape[1:2], heads, q.shape[-1])
    assert v.shape[:3] == k.shape[:3]
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    logits = torch.einsum('bqhd,bkhd->bhqk', q.float(), k.float()) * scale
    return torch.einsum('bhqk,bkhd->bqhd', logits.softmax(-1), v.float()).to(q.dtype)


def with_lse(*arguments, **keywords):
    return strict_flash_attn_func(*arguments, **keywords), None


INSTALLED = {
    'FlashAttention 2': flash.Version(2, strict_flash_attn_func),
    'FlashAttention 3 with log-sum-exp': flash.Version(3, with_lse),
    'FlashAttention 4': flash.Version(4, strict_cute_flash_attn_func),
}


@pytest.fixture(params=INSTALLED.values(), ids=INSTALLED)
def installed_flash(request, monkeypatch):
    """A version, on a GPU of compute capability 10.0."""
    monkeypatch.setattr(flash, 'VERSIONS', [request.param])
    monkeypatch.setattr(flash, 'compute_capability', lambda device: (10, 0))
    monkeypatch.setattr(flash.Flash, 'unsupported', lambda self, inputs: [])


@pytest.mark.parametrize('kind', ['factored', 'rotation', 'nothing'])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.usefixtures('installed_flash')
def test_flash_adapter_agrees_with_reference(size, kind):
    assert_agrees('flash', small_inputs(*size, 4, kind=kind), 4, 4e-3, dtype=torch.float16)


@pytest.mark.usefixtures('installed_flash')
def test_flash_adapter_in_bfloat16():
    assert_agrees('flash', small_inputs(7, 13, 4), 4, 2e-2, dtype=torch.bfloat16)


@pytest.mark.usefixtures('installed_flash')
@pytest.mark.parametrize(('head_dim', 'rank'), [(30, 18), (30, 34), (32, 32), (16, 24)])
def test_flash_adapter_with_the_published_heads(head_dim, rank):
    leaves = make_inputs(8, 8, 8, head_dim=head_dim, rank=rank)
    assert_agrees('flash', leaves, 8, 4e-3, dtype=torch.float16)


@pytest.mark.parametrize(
    ('numbers', 'capability', 'number'),
    [
        ([3, 2, 4], (9, 0), 3),
        ([2, 4], (9, 0), 2),
        ([4], (9, 0), 4),
        ([3, 2, 4], (10, 0), 4),
        ([2, 4], (12, 0), 4),
        ([2], (10, 0), 2),
    ],
)
def test_the_version_fits_the_gpu(monkeypatch, numbers, capability, number):
    versions = {version.number: version for version in INSTALLED.values()}
    monkeypatch.setattr(flash, 'VERSIONS', [versions[each] for each in numbers])
    assert flash.preferred(capability).number == number


class OnCuda:
    """Stands for a map on a GPU, which tests have none of."""

    device = torch.device('cuda')
    shape = (1, 8, 8, 3 * 2 * 64)


@pytest.mark.parametrize(
    ('number', 'capability', 'rank', 'reason'),
    [
        (2, (8, 0), 192, None),
        (2, (8, 0), 193, '256'),
        (2, (7, 5), 32, 'Ampere'),
        (4, (9, 0), 192, None),
        (4, (10, 0), 64, None),
        (4, (10, 0), 65, '128'),
        (4, (8, 0), 32, 'gradients'),
    ],
)
def test_limits_of_flash_are_told(monkeypatch, number, capability, rank, reason):
    versions = {version.number: version for version in INSTALLED.values()}
    monkeypatch.setattr(flash, 'VERSIONS', [versions[number]])
    monkeypatch.setattr(flash, 'compute_capability', lambda device: capability)
    factor = torch.empty(2, 64, rank, device='meta')
    inputs = base.Inputs(OnCuda(), 8, 2, Factored(factor, factor), None, None, 0, torch.float16)
    reasons = flash.Flash().unsupported(inputs)
    assert len(reasons) == (reason is not None)
    assert reason is None or reason in reasons[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('backend', ['sdpa', 'flash', 'auto'])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_cuda_backends_agree_with_reference(size, backend):
    if backend == 'flash' and not flash.VERSIONS:
        pytest.skip('FlashAttention is not installed')
    leaves = small_inputs(*size, 8, device='cuda')
    with torch.device('cuda'):
        out = attend(leaves, 8, backend=backend)
        expected = attend(leaves, 8, backend='reference')
    assert_close(out.cpu(), expected.cpu(), 2e-2)


@pytest.mark.parametrize('kind', ['factored', 'table'])
def test_many_windows_are_computed_in_parts(kind, monkeypatch):
    monkeypatch.setattr(base, 'MOST_WINDOWS', 3)  # of 2 x 2 x 4 windows
    assert_agrees('sdpa', small_inputs(7, 13, 4, kind=kind), 4, 3e-6)


# ---- FlexAttention


@pytest.mark.parametrize('window', [1, 4, 9])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_flex_without_gradients_agrees_with_reference(size, window):
    leaves = small_inputs(*size, window, kind='table')
    with torch.no_grad():
        out, expected = (attend(leaves, window, backend=backend) for backend in ('flex', 'reference'))
    assert_close(out, expected, 1e-6)


def test_flex_shifts_its_windows():
    leaves = small_inputs(7, 13, 4, kind='table')
    with torch.no_grad():
        out, expected = (attend(leaves, 4, backend=backend, shift=2) for backend in ('flex', 'reference'))
    assert_close(out, expected, 1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('size', [(16, 16), (17, 5)], ids=str)
def test_flex_on_cuda_agrees_with_reference(size, dtype):
    leaves = make_inputs(*size, 8, head_dim=30, kind='table', device='cuda')
    compare('flex', leaves, 8, 5e-3 if dtype == torch.float32 else 2e-2, 2e-2, dtype=dtype)


@pytest.mark.parametrize('kind', ['factored', 'nothing', 'table'])
def test_flex_says_why_it_cannot(kind):
    leaves = small_inputs(8, 8, 4, kind=kind)
    reason = 'gradients' if kind == 'table' else 'RPB'
    with pytest.raises(UnsupportedBackendError, match=reason):
        attend(leaves, 4, backend='flex')


class OfDistance(Term):
    """A kind of term that no backend knows: the logits fall with the distance between token numbers."""

    def __init__(self, slopes, tokens):
        self.slopes, self.tokens = slopes, tokens

    def materialize(self):
        number = torch.arange(self.tokens)
        return -self.slopes[:, None, None] * (number[:, None] - number).abs()


@pytest.mark.parametrize(('height', 'width'), SIZES)
@pytest.mark.parametrize('backend', ['auto', 'sdpa'])
def test_a_kind_of_term_from_elsewhere(backend, height, width):
    leaves = small_inputs(height, width, 4, kind='nothing') | {'slopes': torch.rand(HEADS).requires_grad_()}
    term = OfDistance(leaves['slopes'], 16)
    assert_agrees(backend, leaves, 4, 1e-5, term=term)
    with torch.no_grad():
        found, expected = (attend(leaves, 4, term=term, backend=name) for name in (backend, 'reference'))
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize('backend', ['fused', 'flash', 'native'])
def test_backends_of_factors_say_why_they_cannot_add_it(backend):
    with pytest.raises(UnsupportedBackendError, match='OfDistance'):
        attend(small_inputs(8, 8, 4), 4, term=OfDistance(torch.ones(HEADS), 16), backend=backend)
