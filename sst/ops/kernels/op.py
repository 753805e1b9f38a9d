"""The fused window attention and its gradients as operators that torch.compile keeps whole."""

from typing import Any

import torch
from torch import Tensor

from sst.ops.kernels import launch
from sst.ops.kernels.launch import Call, Gradients


@torch.library.custom_op('sst::window_attention', mutates_args=())
def fused_attention(
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    gate: Tensor | None,
    window: int,
    num_heads: int,
    shift: int,
    dtype: torch.dtype,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `window_attention`; factor_q and factor_k are those of a `Factored` term, each (heads, N, r).

    Returns:
        tuple: the result (B, H, W, C), then what the gradients need, each empty unless `differentiable`: the result
        before the gate (B, H, W, C), empty without a gate, and the log-sum-exp of the logits to base 2,
        (B, H, W, heads) in float32.
    """
    call = Call.of(qkv, factor_q, factor_k, gate, window, num_heads, shift, dtype)
    return launch.forward(call, call.configuration('forward'), differentiable)


@fused_attention.register_fake
def _fake_attention(
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    gate: Tensor | None,
    window: int,
    num_heads: int,
    shift: int,
    dtype: torch.dtype,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return launch.empty_results(qkv, gate, num_heads, differentiable)


@torch.library.custom_op('sst::window_attention_backward', mutates_args=())
def fused_attention_backward(
    grad: Tensor,
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    gate: Tensor | None,
    attended: Tensor,
    lse: Tensor,
    window: int,
    num_heads: int,
    shift: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of qkv, factor_q, factor_k and gate for one of the result, `grad` (B, H, W, C).

    Those of arguments that are None are empty.
    """
    call = Call.of(qkv, factor_q, factor_k, gate, window, num_heads, shift, dtype)
    d_qkv, d_factor_q, d_factor_k, d_gate = launch.backward(
        call, Gradients.of(call, grad, attended, lse), call.configuration('query'), call.configuration('key')
    )
    return d_qkv, _as_given(d_factor_q, factor_q), _as_given(d_factor_k, factor_k), d_gate


def _as_given(gradient: Tensor, factor: Tensor | None) -> Tensor:
    return gradient.new_empty(0) if factor is None else gradient.to(factor.dtype)


@fused_attention_backward.register_fake
def _fake_backward(
    grad: Tensor,
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    gate: Tensor | None,
    attended: Tensor,
    lse: Tensor,
    window: int,
    num_heads: int,
    shift: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    d_qkv, d_factor_q, d_factor_k, d_gate = (
        qkv.new_empty(0) if t is None else torch.empty_like(t, memory_format=torch.contiguous_format)
        for t in (qkv, factor_q, factor_k, gate)
    )
    return d_qkv, d_factor_q, d_factor_k, d_gate


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    qkv, factor_q, factor_k, gate, *ctx.options, _ = inputs
    out, attended, lse = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(qkv, factor_q, factor_k, gate, out if gate is None else attended, lse)


def _gradients(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    gradients = fused_attention_backward(grad, *tensors, *ctx.options)
    given = (gradient if t is not None else None for gradient, t in zip(gradients, tensors, strict=False))
    return (*given, None, None, None, None, None)


fused_attention.register_autograd(_gradients, setup_context=_save)
