"""Launches the kernels, each in the configuration that it is given: the table's, or a candidate of a sweep.

Kernels are imported when they first run, so that this module loads where Triton is missing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sst.ops.kernels.configurations import Capability, Configuration, find_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.kernels.layout import Layout
from sst.ops.windows import fold_padding, windows_along


@dataclass(frozen=True)
class Call:
    """One call of the attention as the kernels take it. All tensors are contiguous."""

    geometry: Geometry
    qkv: Tensor  # (B, H, W, 3 * heads * pitch), see `Layout`
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
        padding: int,
        dtype: torch.dtype,
    ) -> 'Call':
        """Prepare the arguments of `fused_attention`."""
        geometry = Geometry.of(qkv, factor_q, window, num_heads, shift, padding, dtype)
        layout = geometry.layout
        return cls(
            geometry,
            qkv.contiguous(),
            prepared(layout, factor_q, dtype, layout.head_dim**0.5),
            prepared(layout, factor_k, dtype),
            None if gate is None else gate.contiguous(),
        )

    def configuration(self, kernel: str) -> Configuration:
        """The table's configuration of a kernel."""
        geometry = self.geometry
        return find_configuration(kernel, geometry.dtype, capability(self.qkv.device), geometry.layout, geometry.window)

    def launch(self, kernel: Any, programs: int, configuration: Configuration, **arguments: Any) -> None:
        """Run `programs` programs of a kernel; `arguments` are those that do not follow from the call."""
        arguments |= vars(self) | self.geometry.sizes | self.geometry.constants() | configuration.keywords()
        options = {name: arguments[name] for name in ('num_warps', 'num_stages', 'enable_fp_fusion')}
        with torch.cuda.device_of(self.qkv):
            kernel[(programs,)](**{name: arguments[name] for name in kernel.arg_names}, **options)


_prepared: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # factor: {how: (its version then, the result)}


@torch.no_grad()
def prepared(layout: Layout, factor: Tensor | None, dtype: torch.dtype, scale: float = 1.0) -> Tensor | None:
    """`layout.prepare`, done once for each factor. Results live as long as their factor, and a factor that was changed
    in place is prepared again."""
    if factor is None or factor.is_inference():  # tensors of inference mode have no version
        return layout.prepare(factor, dtype, scale)
    kept = _prepared.setdefault(factor, {})
    version, result = kept.get((layout, dtype, scale), (None, None))
    if version != factor._version:
        result = layout.prepare(factor, dtype, scale)
        kept[layout, dtype, scale] = factor._version, result
    return result


@dataclass(frozen=True)
class Gradients:
    """What the gradient kernels read from the forward pass, and the tensors that they write."""

    grad: Tensor  # (B, H, W, C), of the result
    attended: Tensor  # (B, H, W, C), the result before the gate
    lse: Tensor  # (windows, heads, N)
    d_result: Tensor  # (B, H, W, heads * lanes), of the result before the gate
    delta: Tensor  # (windows, heads, N)
    d_qkv: Tensor  # (B, padded H, padded W, 3 * heads * pitch)
    d_gate: Tensor | None  # (B, H, W, C)

    @classmethod
    def of(cls, call: Call, grad: Tensor, attended: Tensor, lse: Tensor) -> 'Gradients':
        """Allocate the tensors that the kernels write."""
        geometry, gate, grad = call.geometry, call.gate, grad.contiguous()
        padded = (geometry.rows * geometry.window, geometry.columns * geometry.window)
        lanes = geometry.num_heads * geometry.layout.lanes
        fits = gate is None and lanes == grad.shape[-1]
        return cls(
            grad,
            attended,
            lse,
            d_result=grad if fits else grad.new_empty(*grad.shape[:-1], lanes),
            delta=torch.empty_like(lse),
            d_qkv=call.qkv.new_empty(geometry.batch, *padded, call.qkv.shape[-1]),
            d_gate=None if gate is None else torch.empty_like(gate),
        )


def forward(call: Call, configuration: Configuration, differentiable: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what `fused_attention` returns."""
    from sst.ops.kernels.forward import forward_kernel

    geometry = call.geometry
    sizes = geometry.window, geometry.num_heads, geometry.layout.padding
    out, attended, lse = empty_results(call.qkv, call.gate, *sizes, differentiable)
    programs = geometry.blocks(configuration.block_m) * geometry.num_heads * geometry.windows
    written = {'attended': attended if attended.numel() else None, 'lse': lse if lse.numel() else None}
    call.launch(forward_kernel, programs, configuration, out=out, **written)
    return out, attended, lse


def empty_results(
    qkv: Tensor, gate: Tensor | None, window: int, num_heads: int, padding: int, differentiable: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Allocate what `forward` returns. The log-sum-exp is infinite, which it stays where a query is padding."""
    *sizes, channels = qkv.shape
    batch, height, width = sizes
    windows = batch * windows_along(height, window) * windows_along(width, window)
    out = qkv.new_empty(*sizes, channels // 3 - num_heads * padding)
    attended = torch.empty_like(out) if differentiable and gate is not None else qkv.new_empty(0)
    shape = (windows, num_heads, window**2) if differentiable else (0,)
    lse = qkv.new_full(shape, float('inf'), dtype=torch.float32)
    return out, attended, lse


def backward(
    call: Call, gradients: Gradients, query: Configuration, key: Configuration
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of qkv, 0 in its padding, of both factors (heads, N, r) in float32 and of the gate (B, H, W, C).

    Gradients of factors and a gate that are None are empty.
    """
    d_factor_q = factor_gradients(call, gradients, 'query', query).sum(0)
    d_factor_k = factor_gradients(call, gradients, 'key', key).sum(0)
    layout = call.geometry.layout
    return (
        fold_padding(gradients.d_qkv, call.geometry.height, call.geometry.width),
        layout.restore(d_factor_q),
        layout.restore(d_factor_k),
        call.qkv.new_empty(0) if gradients.d_gate is None else gradients.d_gate,
    )


def factor_gradients(call: Call, gradients: Gradients, kernel: str, configuration: Configuration) -> Tensor:
    """Run the kernel 'query', or after it 'key', which fill in the tensors of `gradients`.

    Returns:
        Tensor: the programs' shares of the gradient of the kernel's factor, (shares, heads, N, columns).
    """
    from sst.ops.kernels.backward import key_kernel, query_kernel

    geometry = call.geometry
    blocks = geometry.blocks(configuration.block_m if kernel == 'query' else configuration.block_n)
    share = geometry.share(blocks, configuration.programs)
    shape = (-(-geometry.windows // share), geometry.num_heads, geometry.window**2, geometry.layout.columns)
    d_factor = torch.empty(shape, device=call.qkv.device)
    programs = blocks * geometry.num_heads * shape[0]
    written = {'d_factor': d_factor, 'share': share, 'windows': geometry.windows}
    function = query_kernel if kernel == 'query' else key_kernel
    call.launch(function, programs, configuration, **vars(gradients), **written)
    return d_factor


def capability(device: torch.device) -> Capability:
    """Compute capability of a GPU; None for the CPU, where the interpreter runs the kernels."""
    if device.type != 'cuda':
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
