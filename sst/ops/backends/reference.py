"""The backend that all others are tested against: the equations in float32, with all logits in memory."""

from dataclasses import replace

import torch
from torch import Tensor

from sst.ops.backends.base import Inputs, WindowedBackend
from sst.utils.precision import full_float32


class Reference(WindowedBackend):
    """Always computes in float32 (float64 for float64 inputs). Memory grows with N^2."""

    name = 'reference'

    def unsupported(self, inputs: Inputs) -> list[str]:
        return []

    def __call__(self, inputs: Inputs) -> Tensor:
        inputs = replace(inputs, dtype=torch.promote_types(inputs.qkv.dtype, torch.float32))
        if torch.compiler.is_compiling():
            return super().__call__(inputs)
        with full_float32():
            return super().__call__(inputs)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (M, heads, N, d)
        logits = (q / inputs.head_dim**0.5) @ k.transpose(-1, -2)  # Eq. 6
        if inputs.term is not None:
            logits = logits + inputs.term.materialize().to(q.dtype)
        return (logits.softmax(-1) @ v).transpose(1, 2)
