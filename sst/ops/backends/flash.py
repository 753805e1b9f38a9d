"""FlashAttention, as the paper uses it: `flash_attn_func` of FlashAttention 3 or 2, whichever is installed."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.backends.base import Inputs, WindowedBackend, concatenated
from sst.ops.terms import Factored, RelativeTable

MAX_HEAD_DIM = 256


@cache
def flash_attn_func() -> Callable | None:
    """FlashAttention 3's function, else FlashAttention 2's, else None where neither is installed."""
    try:
        from flash_attn_interface import flash_attn_func as function  # FlashAttention 3
    except ImportError:
        try:
            from flash_attn import flash_attn_func as function  # FlashAttention 2
        except ImportError:
            return None
    return function


class Flash(WindowedBackend):
    """Concatenates the term's factors to q and k (Eq. 5) and pads v, for the kernels want equal head sizes that are
    multiples of 8, float16 or bfloat16, and (batch, tokens, heads, size)."""

    name = 'flash'

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = []
        if flash_attn_func() is None:
            reasons.append('neither FlashAttention 2 nor 3 is installed (pip install flash-attn --no-build-isolation)')
        if inputs.qkv.device.type != 'cuda':
            reasons.append(f'the input is on {inputs.qkv.device.type}, it needs a CUDA device')
        elif torch.cuda.get_device_capability(inputs.qkv.device) < (8, 0):
            reasons.append('the GPU is older than Ampere (compute capability 8.0)')
        if inputs.dtype not in (torch.float16, torch.bfloat16):
            reasons.append(f'it computes in float16 or bfloat16, not {inputs.dtype} (set attention_dtype)')
        if isinstance(inputs.term, RelativeTable):
            reasons.append('it cannot add a dense positional bias')
        size = inputs.head_dim + (inputs.term.q.shape[-1] if isinstance(inputs.term, Factored) else 0)
        if size > MAX_HEAD_DIM:
            reasons.append(f'head size plus rank is {size}, at most {MAX_HEAD_DIM} is possible')
        return reasons

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        function = flash_attn_func()
        assert function is not None, 'unsupported() guards this call'
        q, k = concatenated(q, k, inputs)
        size = -(-q.shape[-1] // 8) * 8
        q, k, v = (F.pad(t, (0, size - t.shape[-1])) for t in (q, k, v))
        out = function(q, k, v, softmax_scale=1.0)
        out = out[0] if isinstance(out, tuple) else out  # early FlashAttention 3 also returns the log-sum-exp
        return out[..., : inputs.head_dim]
