"""Products of attention at a few keys of each query: exact, and without copying a row of keys per pair.

A lookup that sums weighted rows of a table (torch's embedding bag) is sum_j A_ij v[I_ij]; its gradient with respect to
the weights is q_i k[I_ij]. So each product is the other's gradient. The gradient of the rows is a dense product: in
it several queries add to one key.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


@torch.library.custom_op('sst::scores_at', mutates_args=())
def scores_at(q: Tensor, k: Tensor, index: Tensor) -> Tensor:
    """S_ij = q_i k[I_ij] for q (M, N, d), k (M, L, d) and index (M, N, K) of any integers below L: (M, N, K)."""
    bag = torch.arange(q.shape[0] * q.shape[1], dtype=torch.int32, device=q.device)
    # The gradient of embedding_bag alone: through autograd, the sum itself would be computed too.
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        q.flatten(0, 1).contiguous(),
        k.flatten(0, 1).contiguous(),
        _rows(index, k.shape[1]).flatten(),
        bag * index.shape[2],  # where the bag of each query begins
        bag.repeat_interleave(index.shape[2]),
        0,  # mode: sum
    ).view(index.shape)


@torch.library.custom_op('sst::sum_at', mutates_args=())
def sum_at(weights: Tensor, v: Tensor, index: Tensor) -> Tensor:
    """O_i = sum_j A_ij v[I_ij] for weights and index (M, N, K) and v (M, L, d): (M, N, d)."""
    bags, of_bags = _rows(index, v.shape[1]).flatten(0, 1), weights.flatten(0, 1).contiguous()
    o = F.embedding_bag(bags, v.flatten(0, 1).contiguous(), per_sample_weights=of_bags, mode='sum')
    return o.unflatten(0, index.shape[:2])


def spread(weights: Tensor, index: Tensor, length: int) -> Tensor:
    """(..., N, length): weights (..., N, K) at index, which names no key of a query twice, and 0 elsewhere."""
    return weights.new_zeros(*weights.shape[:-1], length).scatter(-1, index.long(), weights)


def _rows(index: Tensor, length: int) -> Tensor:
    """Rows of the joint table of all M maps."""
    first = torch.arange(len(index), dtype=torch.int32, device=index.device) * length
    return index.int() + first[:, None, None]


@scores_at.register_fake
def _(q: Tensor, k: Tensor, index: Tensor) -> Tensor:
    return q.new_empty(index.shape)


@sum_at.register_fake
def _(weights: Tensor, v: Tensor, index: Tensor) -> Tensor:
    return v.new_empty(*index.shape[:2], v.shape[2])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _scores_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    q, k, index = ctx.saved_tensors
    return sum_at(gradient, k, index), spread(gradient, index, k.shape[1]).mT @ q, None


def _sum_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    weights, v, index = ctx.saved_tensors
    return scores_at(gradient, v, index), spread(weights, index, v.shape[1]).mT @ gradient, None


scores_at.register_autograd(_scores_gradients, setup_context=_save)
sum_at.register_autograd(_sum_gradients, setup_context=_save)


@register_flop_formula([torch.ops.sst.scores_at, torch.ops.sst.sum_at])
def _flop(first: torch.Size, table: torch.Size, index: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * index.numel() * table[-1]
