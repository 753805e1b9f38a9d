"""Our C++ code for CPUs. It reads windows from the map directly and computes the bias tile by tile."""

import torch
from torch import Tensor

from sst.ops.backends.base import Backend, Inputs
from sst.ops.native.build import why_not
from sst.ops.native.op import native_attention

MAX_SIZE = 64  # of a head; the sums of the gradients have room for this many channels


class Native(Backend):
    """Float32 on the CPU, forward and backward; of bfloat16 maps, it converts them. See `sst.ops.native`."""

    name = 'native'

    def automatic(self, inputs: Inputs) -> bool:
        """For bfloat16 only without gradients: torch computes these faster."""
        return inputs.qkv.dtype == torch.float32 or not inputs.needs_gradients

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = []
        if inputs.qkv.device.type != 'cpu':
            reasons.append(f'it computes on the CPU, and the input is on {inputs.qkv.device.type}')
        if not {inputs.dtype, inputs.qkv.dtype} <= {torch.float32, torch.bfloat16}:
            reasons.append(f'it computes in float32 or for bfloat16, not {inputs.qkv.dtype} and {inputs.dtype}')
        reasons += inputs.unfactored()
        if inputs.rotation is not None:
            reasons.append('it cannot rotate q and k')
        if inputs.head_dim > MAX_SIZE:
            reasons.append(f'the head size must be at most {MAX_SIZE}, not {inputs.head_dim}')
        if not reasons and (reason := why_not()):
            reasons.append(reason)
        return reasons

    def __call__(self, inputs: Inputs) -> Tensor:
        factors = inputs.factors or (None, None)
        out, _ = native_attention(inputs.qkv.float(), *factors, inputs.window, inputs.num_heads, inputs.shift)
        out = out.to(inputs.qkv.dtype)
        if inputs.gate is None:
            return out
        return out * inputs.gate if torch.is_grad_enabled() else out.mul_(inputs.gate)
