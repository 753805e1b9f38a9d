"""Launches the kernels, in the configuration that it is given: the table's for all calls, a candidate's in a sweep.

Kernels are imported when they first run, so that this module loads where Triton is missing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sst.ops.kernels.configurations import Capability, Configuration, find_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.windows import fold_padding


@dataclass(frozen=True)
class Call:
    """One call of the attention as the kernels take it. All tensors are contiguous."""

    geometry: Geometry
    qkv: Tensor  # (B, H, W, 3C)
    factor_q: Tensor | None  # (heads, N, columns), see `Layout.prepare`
    factor_k: Tensor | None
    gate: Tensor | None  # (B, H, W, C)

    @classmethod
    def of(
        cls,
        qkv: Tensor,
        factor_q: Tensor | None,
        factor_k: Tensor | None,
        gate: Tensor | None,
        window: int,
        num_heads: int,
        shift: int,
        dtype: torch.dtype,
    ) -> 'Call':
        """From the arguments of `fused_attention`."""
        geometry = Geometry.of(qkv, factor_q, window, num_heads, shift, dtype)
        layout = geometry.layout
        return cls(
            geometry,
            qkv.contiguous(),
            layout.prepare(factor_q, dtype, layout.head_dim**0.5),
            layout.prepare(factor_k, dtype),
            None if gate is None else gate.contiguous(),
        )

    def configuration(self, kernel: str) -> Configuration:
        """The table's."""
        geometry = self.geometry
        return find_configuration(kernel, geometry.dtype, capability(self.qkv.device), geometry.layout, geometry.window)

    def empty_shares(self, share: int) -> Tensor:
        """Where the programs write their shares of a factor's gradient: (shares, heads, N, columns)."""
        geometry = self.geometry
        shares, tokens = -(-geometry.windows // share), geometry.window**2
        columns = geometry.layout.columns
        return torch.empty(shares, geometry.num_heads, tokens, columns, device=self.qkv.device)


@dataclass(frozen=True)
class Gradients:
    """What the kernels of the gradients read of the forward pass, and where they write."""

    grad: Tensor  # (B, H, W, C), of the result
    attended: Tensor  # (B, H, W, C), the result before the gate
    lse: Tensor  # (B, H, W, heads)
    d_result: Tensor  # (B, H, W, C), of the result before the gate
    delta: Tensor  # (B, H, W, heads)
    d_qkv: Tensor  # (B, padded H, padded W, 3C)
    d_gate: Tensor | None  # (B, H, W, C)

    @classmethod
    def of(cls, call: Call, grad: Tensor, attended: Tensor, lse: Tensor) -> 'Gradients':
        """With room for the results."""
        geometry, gate, grad = call.geometry, call.gate, grad.contiguous()
        padded = (geometry.rows * geometry.window, geometry.columns * geometry.window)
        return cls(
            grad,
            attended,
            lse,
            d_result=grad if gate is None else torch.empty_like(grad),
            delta=torch.empty_like(lse),
            d_qkv=call.qkv.new_empty(geometry.batch, *padded, call.qkv.shape[-1]),
            d_gate=None if gate is None else torch.empty_like(gate),
        )


def forward(call: Call, configuration: Configuration, differentiable: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What `fused_attention` returns."""
    from sst.ops.kernels.forward import forward_kernel

    geometry = call.geometry
    out, attended, lse = empty_results(call.qkv, call.gate, geometry.num_heads, differentiable)
    with torch.cuda.device_of(call.qkv):
        forward_kernel[(geometry.blocks(configuration.block_m) * geometry.num_heads * geometry.windows,)](
            call.qkv,
            call.factor_q,
            call.factor_k,
            call.gate,
            out,
            attended if attended.numel() else None,
            lse if lse.numel() else None,
            *geometry.sizes,
            **geometry.constants(),
            **configuration.keywords(),
        )
    return out, attended, lse


def empty_results(
    qkv: Tensor, gate: Tensor | None, num_heads: int, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Room for what `forward` returns."""
    *sizes, channels = qkv.shape
    out = qkv.new_empty(*sizes, channels // 3)
    attended = torch.empty_like(out) if differentiable and gate is not None else qkv.new_empty(0)
    lse = qkv.new_empty(*sizes, num_heads, dtype=torch.float32) if differentiable else qkv.new_empty(0)
    return out, attended, lse


def backward(
    call: Call, gradients: Gradients, query: Configuration, key: Configuration
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of qkv (B, H, W, 3C), of both factors (heads, N, r) in float32 and of the gate (B, H, W, C).

    Those of factors and a gate that are not there are empty.
    """
    d_factor_q = query_gradients(call, gradients, query).sum(0)
    d_factor_k = key_gradients(call, gradients, key).sum(0)
    rank = call.geometry.layout.rank
    return (
        fold_padding(gradients.d_qkv, call.geometry.height, call.geometry.width),
        d_factor_q[..., :rank].contiguous(),
        d_factor_k[..., :rank].contiguous(),
        call.qkv.new_empty(0) if gradients.d_gate is None else gradients.d_gate,
    )


def query_gradients(call: Call, gradients: Gradients, configuration: Configuration) -> Tensor:
    """Fill in what `query_kernel` writes; the shares of the gradient of factor_q (shares, heads, N, columns)."""
    from sst.ops.kernels.backward import query_kernel

    geometry = call.geometry
    blocks = geometry.blocks(configuration.block_m)
    share = geometry.share(blocks, configuration.programs)
    d_factor = call.empty_shares(share)
    with torch.cuda.device_of(call.qkv):
        query_kernel[(blocks * geometry.num_heads * d_factor.shape[0],)](
            call.qkv,
            call.factor_q,
            call.factor_k,
            call.gate,
            gradients.grad,
            gradients.attended,
            gradients.lse,
            gradients.d_result,
            gradients.delta,
            gradients.d_qkv,
            d_factor,
            gradients.d_gate,
            *geometry.sizes,
            geometry.windows,
            share,
            **geometry.constants(),
            **configuration.keywords(),
        )
    return d_factor


def key_gradients(call: Call, gradients: Gradients, configuration: Configuration) -> Tensor:
    """After `query_gradients`, fill in what `key_kernel` writes; the shares of the gradient of factor_k."""
    from sst.ops.kernels.backward import key_kernel

    geometry = call.geometry
    blocks = geometry.blocks(configuration.block_n)
    share = geometry.share(blocks, configuration.programs)
    d_factor = call.empty_shares(share)
    with torch.cuda.device_of(call.qkv):
        key_kernel[(blocks * geometry.num_heads * d_factor.shape[0],)](
            call.qkv,
            call.factor_q,
            call.factor_k,
            gradients.d_result,
            gradients.lse,
            gradients.delta,
            gradients.d_qkv,
            d_factor,
            *geometry.sizes,
            geometry.windows,
            share,
            **geometry.constants(),
            **configuration.keywords(),
        )
    return d_factor


def capability(device: torch.device) -> Capability:
    """Compute capability of a GPU, None for the CPU, where the interpreter runs the kernels."""
    if device.type != 'cuda':
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
