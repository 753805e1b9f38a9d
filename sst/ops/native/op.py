"""The CPU's window attention and its gradients as operators that torch.compile keeps whole."""

import ctypes
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sst.ops.native.build import library
from sst.ops.native.problem import Problem, Sizes, laid_out
from sst.ops.operators import empty_gradients, register_gradients
from sst.ops.windows import fold_padding

LOG2E = math.log2(math.e)
ALL_KINDS = 8  # of packed tensors, see attention.cpp


@torch.library.custom_op('sst::native_attention', mutates_args=())
def native_attention(
    qkv: Tensor, factor_q: Tensor | None, factor_k: Tensor | None, window: int, num_heads: int, shift: int
) -> tuple[Tensor, Tensor]:
    """`window_attention` in float32 and without a gate; the factors are those of a `Factored` term, (heads, N, r).

    Returns:
        tuple: the result (B, H, W, C), and, for the gradients, the log-sum-exp of the logits to base 2,
        (heads, windows, tokens).
    """
    out, lse = _empty_results(qkv, factor_q, factor_k, window, num_heads, shift)
    sizes = Sizes.of(qkv, factor_q, window, num_heads)
    factors = laid_out(sizes, factor_q, factor_k, LOG2E)
    problem = Problem(sizes, shift, library().forward_kinds(), qkv=qkv.contiguous(), out=out, lse=lse, **factors)
    _run('pack', problem)
    _run('forward', problem)
    return out, lse


@native_attention.register_fake
def _empty_results(
    qkv: Tensor, factor_q: Tensor | None, factor_k: Tensor | None, window: int, num_heads: int, shift: int
) -> tuple[Tensor, Tensor]:
    sizes = Sizes.of(qkv, factor_q, window, num_heads)
    out = qkv.new_empty(sizes.batch, sizes.height, sizes.width, num_heads * sizes.head_dim)
    return out, qkv.new_empty(num_heads, sizes.windows, sizes.tokens)


@torch.library.custom_op('sst::native_attention_backward', mutates_args=())
def native_attention_backward(
    grad: Tensor,
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    out: Tensor,
    lse: Tensor,
    window: int,
    num_heads: int,
    shift: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, factor_q and factor_k from that of the result, `grad` (B, H, W, C); empty for None."""
    sizes = Sizes.of(qkv, factor_q, window, num_heads, gradients=True)
    d_qkv = qkv.new_empty(sizes.batch, sizes.rows * window, sizes.columns * window, qkv.shape[-1])
    given = {'qkv': qkv.contiguous(), 'grad': grad.contiguous(), 'out': out, 'lse': lse}
    factors = laid_out(sizes, factor_q, factor_k, LOG2E)
    problem = Problem(sizes, shift, ALL_KINDS, delta=torch.empty_like(lse), d_qkv=d_qkv, **given, **factors)
    _run('pack', problem)
    d_factors = []
    for name in ('backward_queries', 'backward_keys'):
        d_term = qkv.new_empty(sizes.chunks, num_heads, sizes.tokens, sizes.rank_wide)
        problem.point(d_term=d_term)
        _run(name, problem)
        d_factors.append(d_term.sum(0)[:, : window * window, : sizes.rank])
    d_qkv = fold_padding(d_qkv, sizes.height, sizes.width)
    if factor_q is None:
        return d_qkv, qkv.new_empty(0), qkv.new_empty(0)
    return d_qkv, d_factors[0].contiguous(), d_factors[1] / LOG2E


@native_attention_backward.register_fake
def _fake_backward(grad: Tensor, *tensors_and_options: Any) -> tuple[Tensor, ...]:
    return tuple(empty_gradients(tensors_and_options[:3]))


register_gradients(native_attention, native_attention_backward, lambda inputs, results: results, tensors=3, options=3)


def _run(name: str, problem: Problem) -> None:
    """Call a function of attention.cpp in as many threads as torch uses; the function divides the work."""
    problem.point(next=torch.zeros(1, dtype=torch.int64))
    function, argument = getattr(library(), name), ctypes.byref(problem)
    others = [_pool(os.getpid()).submit(function, argument) for _ in range(torch.get_num_threads() - 1)]
    if any([function(argument), *(other.result() for other in others)]):
        raise MemoryError('there is not enough memory for the tiles of window attention')


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """One pool for each process, because threads do not survive a fork."""
    return ThreadPoolExecutor(max(os.cpu_count() or 1, torch.get_num_threads()), 'window_attention')
