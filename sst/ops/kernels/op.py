"""The fused window attention and its gradients as operators that torch.compile keeps whole."""

from typing import Any

import torch
from torch import Tensor

from sst.ops.kernels import launch
from sst.ops.kernels.launch import Call, Gradients
from sst.ops.operators import empty_gradients, register_gradients

Results = tuple[Tensor, Tensor, Tensor]


@torch.library.custom_op('sst::window_attention', mutates_args=())
def fused_attention(
    qkv: Tensor,
    factor_q: Tensor | None,
    factor_k: Tensor | None,
    gate: Tensor | None,
    window: int,
    num_heads: int,
    shift: int,
    padding: int,
    dtype: torch.dtype,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `window_attention`; factor_q and factor_k are those of a `Factored` term, each (heads, N, r).
    Each head has `padding` channels of zeros after its own in qkv, (B, H, W, 3 * heads * (d + padding)).

    Returns:
        tuple: the result (B, H, W, C), then what the gradients need, each empty unless `differentiable`: the result
        before the gate (B, H, W, C), empty without a gate, and the log-sum-exp of the logits to base 2,
        (windows, heads, N) in float32, infinite where a query is padding.
    """
    call = Call.of(qkv, factor_q, factor_k, gate, window, num_heads, shift, padding, dtype)
    return launch.forward(call, call.configuration('forward'), differentiable)


@fused_attention.register_fake
def _fake_attention(
    qkv: Tensor, factor_q: Tensor | None, factor_k: Tensor | None, gate: Tensor | None, *options: Any
) -> Results:
    window, num_heads, _, padding, _, differentiable = options
    return launch.empty_results(qkv, gate, window, num_heads, padding, differentiable)


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
    padding: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of qkv, factor_q, factor_k and gate, from the gradient of the result, `grad` (B, H, W, C).

    Gradients of arguments that are None are empty.
    """
    call = Call.of(qkv, factor_q, factor_k, gate, window, num_heads, shift, padding, dtype)
    d_qkv, d_factor_q, d_factor_k, d_gate = launch.backward(
        call, Gradients.of(call, grad, attended, lse), call.configuration('query'), call.configuration('key')
    )
    d_factor_q, d_factor_k = (
        d.new_empty(0) if factor is None else d.to(factor.dtype)
        for d, factor in ((d_factor_q, factor_q), (d_factor_k, factor_k))
    )
    return d_qkv, d_factor_q, d_factor_k, d_gate


@fused_attention_backward.register_fake
def _fake_backward(grad: Tensor, *tensors_and_options: Any) -> tuple[Tensor, ...]:
    return tuple(empty_gradients(tensors_and_options[:4]))


register_gradients(
    fused_attention,
    fused_attention_backward,
    lambda inputs, results: (results[0] if inputs[3] is None else results[1], results[2]),  # without a gate: the result
    tensors=4,
    options=5,
)
