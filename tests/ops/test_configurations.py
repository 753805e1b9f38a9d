"""The configurations of the fused kernels: which call gets which, and that none changes results."""

import pytest
import torch
from helpers import assert_close

from sst.ops import Factored, window_attention
from sst.ops.backends import fused
from sst.ops.kernels import configurations, launch
from sst.ops.kernels.configurations import KERNELS, Configuration, Row, find_configuration
from sst.ops.kernels.launch import Call, Gradients
from sst.ops.kernels.layout import Layout, worthwhile_padding

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
WINDOW, HEADS, HEAD_DIM, RANK = 8, 2, 30, 18


@pytest.fixture
def tensors():
    """qkv, both factors, the gate and the gradient of the result, of a map that is padded on both sides."""
    channels = HEADS * HEAD_DIM
    shapes = [(1, 13, 19, 3 * channels), *2 * [(HEADS, WINDOW**2, RANK)], *2 * [(1, 13, 19, channels)]]
    return [torch.randn(shape, device=DEVICE) for shape in shapes]


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize(
    'configuration',
    [
        Configuration(16, 16, num_stages=1),
        Configuration(16, 64),
        Configuration(64, 16, programs=3),
        Configuration(64, 64, num_warps=8, num_stages=3),
        Configuration(32, 128, programs=1),  # more keys than a window has
        Configuration(128, 32, programs=1),
    ],
    ids=lambda c: f'{c.block_m}x{c.block_n}',
)
def test_no_configuration_changes_results(tensors, configuration):
    qkv, factor_q, factor_k, gate, grad = tensors
    leaves = [tensor.clone().requires_grad_() for tensor in (qkv, factor_q, factor_k, gate)]
    expected = window_attention(
        leaves[0], WINDOW, HEADS, Factored(*leaves[1:3]), gate=leaves[3], shift=3, backend='reference'
    )
    call = Call.of(qkv, factor_q, factor_k, gate, WINDOW, HEADS, 3, 0, torch.float32)
    out, attended, lse = launch.forward(call, configuration, differentiable=True)
    assert_close(out, expected, 1e-5)
    results = launch.backward(call, Gradients.of(call, grad, attended, lse), configuration, configuration)
    for name, result, right in zip(
        ('qkv', 'factor_q', 'factor_k', 'gate'), results, torch.autograd.grad(expected, leaves, grad), strict=True
    ):
        assert_close(result, right, 1e-5, f'gradient of {name}')


@pytest.mark.parametrize('capability', [None, 80, 86, 89, 90, 100, 120])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize('kernel', KERNELS)
def test_every_call_has_a_configuration_with_blocks_that_fit_the_window(kernel, dtype, capability):
    for head_dim, rank, window in [(1, 0, 2), (16, 24, 8), (30, 34, 16), (64, 64, 96)]:
        configuration = find_configuration(kernel, dtype, capability, Layout(head_dim, rank), window)
        for block in (configuration.block_m, configuration.block_n):
            assert 16 <= block < max(2 * window**2, 17)


def test_rows_can_tell_heads_apart_that_are_as_wide():
    hopper = ('forward', torch.float16, 90)
    assert Layout(30, 34).width == Layout(32, 32).width
    found = [find_configuration(*hopper, layout, 96) for layout in (Layout(30, 34), Layout(32, 32), Layout(29, 34))]
    assert [(c.block_m, c.block_n, c.num_warps) for c in found] == [(128, 128, 8), (256, 128, 16), (128, 64, 8)]


@pytest.mark.parametrize('row', configurations.TABLE, ids=str)
def test_every_warp_of_a_row_has_rows_of_its_own(row):
    if row.dtypes != configurations.FLOAT32:
        for kernel in row.kernels:
            assert row.configuration.rows(kernel) >= 16 * row.configuration.num_warps


@pytest.mark.parametrize(
    ('head_dim', 'padding'), [(8, 0), (16, 0), (20, 0), (30, 2), (32, 0), (45, 3), (54, 2), (63, 1), (64, 0), (1, 0)]
)
def test_heads_are_padded_where_it_costs_little(head_dim, padding):
    assert worthwhile_padding(head_dim) == padding


@pytest.mark.parametrize('head_dim', [1, 5, 16, 30, 32, 45])
@pytest.mark.parametrize('rank', [1, 2, 16, 18, 34, 64])
def test_prepared_factors_can_be_restored(head_dim, rank):
    layout, factor = Layout(head_dim, rank), torch.rand(2, 4, rank)
    prepared = layout.prepare(factor, torch.float32)
    assert prepared.shape == (2, 4, layout.columns)
    assert layout.rank_lanes % 8 == layout.columns % 8 == 0
    assert torch.equal(layout.restore(prepared), factor)


def test_a_row_on_top_is_for_its_calls_alone(monkeypatch):
    measured = Configuration(64, 128, num_stages=4)
    row = Row(('query',), (torch.bfloat16,), (90, 90), (64, 64), (96, 96), measured)
    layout = Layout(32, 32)
    calls = [
        ('query', torch.bfloat16, 90, layout, 96),
        ('key', torch.bfloat16, 90, layout, 96),
        ('query', torch.float16, 90, layout, 96),
        ('query', torch.bfloat16, 100, layout, 96),
        ('query', torch.bfloat16, 90, Layout(32, 16), 96),
        ('query', torch.bfloat16, 90, layout, 48),
    ]
    before = [find_configuration(*call) for call in calls]
    monkeypatch.setattr(configurations, 'TABLE', (row, *configurations.TABLE))
    assert [find_configuration(*call) for call in calls] == [measured, *before[1:]]
    assert measured not in before
