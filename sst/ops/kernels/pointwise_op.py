"""The kernels of `pointwise.py` as operators that torch.compile keeps whole.

Only `depthwise_gelu_add` has gradients; `sst.ops.pointwise` leaves others to torch. Kernels are imported when they
first run, so that this module loads where Triton is missing.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sst.ops.kernels.configurations import Capability
from sst.ops.kernels.launch import capability
from sst.ops.kernels.layout import SMALLEST, power_of_two
from sst.ops.operators import empty_gradients, register_gradients

PROGRAMS = 512  # at least about this many for a small map, to keep a large GPU busy


def ceiling(number: int, size: int) -> int:
    """The number of blocks of `size` that hold `number`."""
    return -(-number // size)


def channel_tiles(channels: int) -> tuple[int, int]:
    """Two powers of two that hold the channels, as 128 + 64 for 180; the second is 0 if one alone wastes no more."""
    whole = max(power_of_two(channels), SMALLEST)
    first = max(whole // 2, SMALLEST)
    second = max(power_of_two(max(channels - first, 1)), SMALLEST)
    return (first, second) if first + second < whole else (whole, 0)


@dataclass(frozen=True)
class LinearBlocks:
    """How `linear_kernel` is launched: rows of the map and of the weight that meet in one product."""

    block_m: int
    block_n: int
    num_warps: int = 8
    num_stages: int = 2

    @classmethod
    def of(cls, capability: Capability, dtype: torch.dtype, outputs: int) -> 'LinearBlocks':
        if capability is None:  # the interpreter, where every block costs the same
            return cls(1024, max(power_of_two(outputs), SMALLEST))
        if dtype == torch.float32:  # without tensor cores all values are in registers
            return cls(32, 32)
        roomy = capability // 10 in (9, 10)  # Hopper and Blackwell GPUs for data centres have more shared memory
        return cls(128, 64, num_stages=3) if roomy else cls(64, 64)

    def share(self, rows: int, outputs: int) -> int:
        """Blocks of the weight for each program: all of them if there are `PROGRAMS` programs then, otherwise fewer."""
        blocks = ceiling(outputs, self.block_n)
        return max(1, min(blocks, blocks * ceiling(rows, self.block_m) // PROGRAMS))

    def programs(self, rows: int, outputs: int) -> int:
        blocks = ceiling(outputs, self.block_n)
        return ceiling(rows, self.block_m) * ceiling(blocks, self.share(rows, outputs))

    def keywords(self) -> dict[str, int]:
        return {
            'BLOCK_M': self.block_m,
            'BLOCK_N': self.block_n,
            'num_warps': self.num_warps,
            'num_stages': self.num_stages,
            'enable_fp_fusion': True,
        }


@dataclass(frozen=True)
class DepthwiseBlocks:
    """How the kernels of the depthwise convolution are launched: the pixels and channels of one program."""

    rows: int = 8
    columns: int = 8
    channels: int = 32
    num_warps: int = 4

    @classmethod
    def of(cls, capability: Capability, channels: int) -> 'DepthwiseBlocks':
        if capability is None:
            return cls(32, 32, power_of_two(channels))
        return cls(channels=min(cls.channels, max(power_of_two(channels), SMALLEST)))

    @classmethod
    def of_gradients(cls, capability: Capability, channels: int) -> 'DepthwiseBlocks':
        """Those of `depthwise_gradient_kernel`: larger, because each tile also writes ten sums a channel."""
        blocks = cls.of(capability, channels)
        return blocks if capability is None else replace(blocks, rows=16, num_warps=8)

    def tiles(self, batch: int, height: int, width: int) -> int:
        return batch * ceiling(height, self.rows) * ceiling(width, self.columns)

    def programs(self, batch: int, height: int, width: int, channels: int) -> int:
        return self.tiles(batch, height, width) * ceiling(channels, self.channels)

    def keywords(self) -> dict[str, int]:
        return {
            'ROWS': self.rows,
            'COLUMNS': self.columns,
            'CHANNELS': self.channels,
            'num_warps': self.num_warps,
            'num_stages': 1,
            'enable_fp_fusion': True,
        }


@torch.library.custom_op('sst::norm_linear', mutates_args=())
def fused_norm_linear(
    x: Tensor,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    weight: Tensor,
    bias: Tensor,
    activation: str,
) -> Tensor:
    """activation(LN(x) weight^T + bias) of a map (B, H, W, C), everything in its dtype: (B, H, W, K).

    weight is (K, C), bias (K,). norm_weight and norm_bias are (C,), or None for no normalisation.
    activation is 'none', 'gelu' or 'sigmoid'.
    """
    from sst.ops.kernels.pointwise import linear_kernel

    x = x.contiguous()
    outputs, channels = weight.shape
    rows = x.numel() // channels
    out = x.new_empty(*x.shape[:-1], outputs)
    first, second = channel_tiles(channels)
    blocks = LinearBlocks.of(capability(x.device), x.dtype, outputs)
    with torch.cuda.device_of(x):
        linear_kernel[(blocks.programs(rows, outputs),)](
            x,
            norm_weight,
            norm_bias,
            weight.contiguous(),
            bias,
            out,
            rows,
            blocks.share(rows, outputs),
            EPS=eps,
            ACTIVATION=activation,
            C=channels,
            K=outputs,
            FIRST=first,
            SECOND=second,
            **blocks.keywords(),
        )
    return out


@fused_norm_linear.register_fake
def _fake_norm_linear(x: Tensor, norm_weight: Any, norm_bias: Any, eps: float, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op('sst::depthwise_gelu_add', mutates_args=())
def fused_depthwise_gelu_add(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """h + GELU(DW3x3(h)) of a map (B, H, W, F) with zeros around it, in its dtype; weight (F, 1, 3, 3), bias (F,)."""
    return _depthwise(h.contiguous(), weight, bias)


@fused_depthwise_gelu_add.register_fake
def _fake_depthwise_gelu_add(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.empty_like(h, memory_format=torch.contiguous_format)


@torch.library.custom_op('sst::depthwise_gelu_add_backward', mutates_args=())
def fused_depthwise_gelu_add_backward(
    grad: Tensor, h: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of h, weight and bias, from the gradient of the result, `grad` (B, H, W, F).

    Programs write sums over their pixels, which are added in a fixed order: the same call gives the same gradients.
    """
    from sst.ops.kernels.pointwise import depthwise_gradient_kernel

    h, grad = h.contiguous(), grad.contiguous()
    s = _depthwise(h, weight, bias, grad)
    batch, height, width, channels = h.shape
    blocks = DepthwiseBlocks.of_gradients(capability(h.device), channels)
    d_h = torch.empty_like(h)
    shares = h.new_empty(blocks.tiles(batch, height, width), 10, channels, dtype=torch.float32)
    with torch.cuda.device_of(h):
        depthwise_gradient_kernel[(blocks.programs(batch, height, width, channels),)](
            h, weight.contiguous(), grad, s, d_h, shares, height, width, F=channels, **blocks.keywords()
        )
    sums = shares.sum(0)
    d_weight = sums[:9].t().contiguous().view(weight.shape)
    return d_h, d_weight.to(weight.dtype), sums[9].to(bias.dtype, copy=True)


@fused_depthwise_gelu_add_backward.register_fake
def _fake_depthwise_gelu_add_backward(grad: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(empty_gradients(tensors))


register_gradients(
    fused_depthwise_gelu_add,
    fused_depthwise_gelu_add_backward,
    lambda inputs, result: (),  # y is computed again, which takes less time than to read it
    tensors=3,
    options=0,
)


def _depthwise(h: Tensor, weight: Tensor, bias: Tensor, grad: Tensor | None = None) -> Tensor:
    """What `depthwise_kernel` writes for contiguous maps: the result, or with `grad` the gradient of DW3x3(h)."""
    from sst.ops.kernels.pointwise import depthwise_kernel

    batch, height, width, channels = h.shape
    out = torch.empty_like(h)
    blocks = DepthwiseBlocks.of(capability(h.device), channels)
    with torch.cuda.device_of(h):
        depthwise_kernel[(blocks.programs(batch, height, width, channels),)](
            h, weight.contiguous(), bias, grad, out, height, width, F=channels, **blocks.keywords()
        )
    return out
