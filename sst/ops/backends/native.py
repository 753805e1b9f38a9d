"""Our own C++ for CPUs, which reads the windows straight from the map and computes the bias tile by tile."""

import torch
from torch import Tensor

from sst.ops.backends.base import Backend, Inputs
from sst.ops.native.build import why_not
from sst.ops.native.op import native_attention

MAX_SIZE = 64  # of heads: what the gradients' sums have room for


class Native(Backend):
    """Float32 on the CPU, forward and backward. See `sst.ops.native`."""

    name = 'native'

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = []
        if inputs.qkv.device.type != 'cpu':
            reasons.append(f'the input is on {inputs.qkv.device.type}, it serves the CPU')
        if {inputs.dtype, inputs.qkv.dtype} != {torch.float32}:
            reasons.append(f'it reads and computes float32, not {inputs.qkv.dtype} and {inputs.dtype}')
        reasons += inputs.unfactored()
        if inputs.rotation is not None:
            reasons.append('it cannot rotate q and k')
        if inputs.head_dim > MAX_SIZE:
            reasons.append(f'the head size is {inputs.head_dim}, at most {MAX_SIZE} is possible')
        if not reasons and (reason := why_not()):
            reasons.append(reason)
        return reasons

    def __call__(self, inputs: Inputs) -> Tensor:
        factors = inputs.factors or (None, None)
        out, _ = native_attention(inputs.qkv, *factors, inputs.window, inputs.num_heads, inputs.shift)
        return out if inputs.gate is None else out * inputs.gate
