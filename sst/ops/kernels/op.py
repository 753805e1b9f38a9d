"""The fused window attention and its gradients as operators that torch.compile keeps whole.

Kernels are imported when they first run, so that this module loads where Triton is missing.
"""

from typing import Any

import torch
from torch import Tensor

from sst.ops.kernels.configurations import Capability, backward_configuration, forward_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.windows import fold_padding


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
    from sst.ops.kernels.forward import forward_kernel

    geometry = Geometry.of(qkv, factor_q, window, num_heads, shift, dtype)
    layout = geometry.layout
    configuration = forward_configuration(capability(qkv.device), layout, dtype).within(window)
    out, attended, lse = _empty_results(qkv, gate, num_heads, differentiable)
    with torch.cuda.device_of(qkv):
        forward_kernel[(geometry.blocks(configuration.block_m) * num_heads * geometry.windows,)](
            qkv.contiguous(),
            layout.prepare(factor_q, dtype, layout.head_dim**0.5),
            layout.prepare(factor_k, dtype),
            None if gate is None else gate.contiguous(),
            out,
            attended if attended.numel() else None,
            lse if lse.numel() else None,
            *geometry.sizes,
            **geometry.constants(),
            **configuration.keywords(),
        )
    return out, attended, lse


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
    return _empty_results(qkv, gate, num_heads, differentiable)


def _empty_results(
    qkv: Tensor, gate: Tensor | None, num_heads: int, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor]:
    *sizes, channels = qkv.shape
    out = qkv.new_empty(*sizes, channels // 3)
    attended = torch.empty_like(out) if differentiable and gate is not None else qkv.new_empty(0)
    lse = qkv.new_empty(*sizes, num_heads, dtype=torch.float32) if differentiable else qkv.new_empty(0)
    return out, attended, lse


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
    from sst.ops.kernels.backward import key_kernel, query_kernel

    geometry = Geometry.of(qkv, factor_q, window, num_heads, shift, dtype)
    layout = geometry.layout
    configuration = backward_configuration(capability(qkv.device), dtype).within(window)
    query_blocks, key_blocks = geometry.blocks(configuration.block_m), geometry.blocks(configuration.block_n)
    query_share, key_share = (geometry.share(blocks, configuration.programs) for blocks in (query_blocks, key_blocks))

    qkv, grad = qkv.contiguous(), grad.contiguous()
    prepared = layout.prepare(factor_q, dtype, layout.head_dim**0.5), layout.prepare(factor_k, dtype)
    d_qkv = qkv.new_empty(geometry.batch, geometry.rows * window, geometry.columns * window, qkv.shape[-1])
    d_gate = None if gate is None else torch.empty_like(gate, memory_format=torch.contiguous_format)
    d_result = grad if gate is None else torch.empty_like(grad)
    delta = torch.empty_like(lse)
    d_factor_q, d_factor_k = (_empty_shares(geometry, share, qkv.device) for share in (query_share, key_share))
    with torch.cuda.device_of(qkv):
        query_kernel[(query_blocks * num_heads * d_factor_q.shape[0],)](
            qkv,
            *prepared,
            None if gate is None else gate.contiguous(),
            grad,
            attended,
            lse,
            d_result,
            delta,
            d_qkv,
            d_factor_q,
            d_gate,
            *geometry.sizes,
            geometry.windows,
            query_share,
            **geometry.constants(),
            **configuration.keywords(),
        )
        key_kernel[(key_blocks * num_heads * d_factor_k.shape[0],)](
            qkv,
            *prepared,
            d_result,
            lse,
            delta,
            d_qkv,
            d_factor_k,
            *geometry.sizes,
            geometry.windows,
            key_share,
            **geometry.constants(),
            **configuration.keywords(),
        )
    return (
        fold_padding(d_qkv, geometry.height, geometry.width),
        _summed(d_factor_q, factor_q),
        _summed(d_factor_k, factor_k),
        qkv.new_empty(0) if d_gate is None else d_gate,
    )


def _empty_shares(geometry: Geometry, share: int, device: torch.device) -> Tensor:
    """Where the programs write their shares of a factor's gradient: (shares, heads, N, columns)."""
    shares, tokens = -(-geometry.windows // share), geometry.window**2
    return torch.empty(shares, geometry.num_heads, tokens, geometry.layout.columns, device=device)


def _summed(shares: Tensor, factor: Tensor | None) -> Tensor:
    if factor is None:
        return shares.new_empty(0)
    return shares.sum(0)[..., : factor.shape[-1]].to(factor.dtype).contiguous()


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


def capability(device: torch.device) -> Capability:
    """Compute capability of a GPU, None for the CPU, where the interpreter runs the kernels."""
    return torch.cuda.get_device_capability(device) if device.type == 'cuda' else None
