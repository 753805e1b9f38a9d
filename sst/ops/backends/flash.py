"""FlashAttention, as the paper uses it: `flash_attn_func` of FlashAttention 3 or 2, whichever is installed."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.backends.base import Inputs, WindowedBackend, concatenated, older_than_ampere
from sst.utils.optional import MISSING, why_not

_FUNCTION = 'flash_attn_func'
_REASONS = {name: why_not(name, _FUNCTION) for name in ('flash_attn_interface', 'flash_attn')}  # FlashAttention 3, 2

flash_attn_func: Callable[..., Any] | None = next(
    (getattr(import_module(name), _FUNCTION) for name, reason in _REASONS.items() if not reason), None
)
# Why the installed versions cannot be used; '' if none is installed, or if one can be used.
UNUSABLE = '; '.join(
    f'{name} {reason}' for name, reason in _REASONS.items() if flash_attn_func is None and reason != MISSING
)

MAX_HEAD_DIM = 256


class Flash(WindowedBackend):
    """Concatenates the term's factors to q and k (Eq. 5) and pads v, because the kernels need equal head sizes that are
    multiples of 8. They compute in float16 or bfloat16."""

    name = 'flash'

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = []
        if flash_attn_func is None:
            reasons.append(UNUSABLE or 'FlashAttention is not installed (pip install flash-attn --no-build-isolation)')
        if inputs.qkv.device.type != 'cuda':
            reasons.append(f'it needs a CUDA device, and the input is on {inputs.qkv.device.type}')
        elif older_than_ampere(inputs.qkv.device):
            reasons.append('the GPU is older than Ampere (compute capability 8.0)')
        if inputs.dtype not in (torch.float16, torch.bfloat16):
            reasons.append(f'it computes in float16 or bfloat16, not {inputs.dtype} (set attention_dtype)')
        reasons += inputs.unfactored()
        size = inputs.head_dim + inputs.rank
        if size > MAX_HEAD_DIM:
            reasons.append(f'head size plus rank must be at most {MAX_HEAD_DIM}, not {size}')
        return reasons

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        assert flash_attn_func is not None, 'unsupported() guards this call'
        q, k = concatenated(q, k, inputs)
        size = -(-q.shape[-1] // 8) * 8
        q, k, v = (F.pad(t, (0, size - t.shape[-1])) for t in (q, k, v))
        out = flash_attn_func(q, k, v, softmax_scale=1.0)
        out = out[0] if isinstance(out, tuple) else out  # early FlashAttention 3 also returns the log-sum-exp
        return out[..., : inputs.head_dim]
