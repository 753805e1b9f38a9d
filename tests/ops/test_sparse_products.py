"""Products at a few keys beside the dense ones, with gradients."""

import pytest
import torch
from helpers import assert_close
from torch.utils.flop_counter import FlopCounterMode

from sst.ops.sparse_products import scores_at, spread, sum_at


def arguments(dtype=torch.float64, maps=3, queries=5, keys=7, few=4, d=6):
    q, k = torch.randn(maps, queries, d, dtype=dtype), torch.randn(maps, keys, d, dtype=dtype)
    index = torch.rand(maps, queries, keys).topk(few).indices.to(torch.int16)
    return q, k, torch.randn(maps, queries, few, dtype=dtype), index


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)], ids=str
)
def test_dense_products(dtype, tolerance):
    q, k, weights, index = arguments(dtype)
    assert_close(scores_at(q, k, index), (q @ k.mT).gather(-1, index.long()), tolerance)
    assert_close(sum_at(weights, k, index), spread(weights, index, k.shape[1]) @ k, tolerance)


def test_gradients():
    q, k, weights, index = (x.requires_grad_(x.is_floating_point()) for x in arguments())
    assert torch.autograd.gradcheck(scores_at, (q, k, index))
    assert torch.autograd.gradcheck(sum_at, (weights, k, index))


@pytest.mark.parametrize('operation', [scores_at, sum_at])
def test_conventions_of_torch(operation):
    q, k, weights, index = arguments()
    torch.library.opcheck(operation, ((q if operation is scores_at else weights).requires_grad_(), k, index))


def test_pairs_are_counted_on_meta():
    q, k, weights, index = (x.to('meta') for x in arguments())
    with FlopCounterMode(display=False) as counter:
        scores_at(q, k, index)
        sum_at(weights, k, index)
    assert counter.get_total_flops() == 2 * 2 * 3 * 5 * 4 * 6
