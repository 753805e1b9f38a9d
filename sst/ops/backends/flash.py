"""FlashAttention, as the paper uses it: `flash_attn_func` of FlashAttention 3, 2 or 4, whichever is installed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.backends.base import Inputs, WindowedBackend, compute_capability, concatenated
from sst.utils.optional import MISSING, why_not

_FUNCTION = 'flash_attn_func'
BLACKWELL = (10, 0)


@dataclass(frozen=True)
class Version:
    """An installed FlashAttention, and what its kernels demand."""

    number: int
    function: Callable[..., Any]

    def widest(self, capability: tuple[int, int]) -> int:
        """The largest head size."""
        return 128 if self.number == 4 and capability >= BLACKWELL else 256

    @property
    def separate_v(self) -> bool:
        """Whether heads of v may have a size of their own."""
        return self.number == 4


_MODULES = {3: 'flash_attn_interface', 2: 'flash_attn', 4: 'flash_attn.cute'}  # in the order of preference
_REASONS = {number: why_not(module, _FUNCTION) for number, module in _MODULES.items()}
VERSIONS = [
    Version(number, getattr(import_module(module), _FUNCTION))
    for number, module in _MODULES.items()
    if not _REASONS[number]
]
# Why the installed versions cannot be used; '' if none is installed, or if one can be used.
UNUSABLE = '; '.join(
    f'{_MODULES[number]} {reason}' for number, reason in _REASONS.items() if not VERSIONS and reason != MISSING
)


class Flash(WindowedBackend):
    """Concatenates the term's factors to q and k (Eq. 5). v is padded to their size, which FlashAttention 4 alone does
    not need. Head sizes must be multiples of 8. The kernels compute in float16 or bfloat16."""

    name = 'flash'

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons, device = [], inputs.qkv.device
        if not VERSIONS:
            reasons.append(UNUSABLE or 'FlashAttention is not installed (pip install flash-attn --no-build-isolation)')
        if device.type != 'cuda':
            reasons.append(f'it needs a CUDA device, and the input is on {device.type}')
        elif VERSIONS:
            reasons += self._too_old_or_wide(inputs, compute_capability(device))
        if inputs.dtype not in (torch.float16, torch.bfloat16):
            reasons.append(f'it computes in float16 or bfloat16, not {inputs.dtype} (set attention_dtype)')
        return reasons + inputs.unfactored()

    @staticmethod
    def _too_old_or_wide(inputs: Inputs, capability: tuple[int, int]) -> list[str]:
        version, size = preferred(capability), inputs.head_dim + inputs.rank
        reasons = []
        if capability < (8, 0):
            reasons.append('the GPU is older than Ampere (compute capability 8.0)')
        if version.number == 4 and capability < (9, 0) and torch.is_grad_enabled():
            reasons.append('FlashAttention 4 has no gradients on GPUs older than Hopper')
        if size > version.widest(capability):
            reasons.append(f'head size plus rank must be at most {version.widest(capability)}, not {size}')
        return reasons

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        version = preferred(compute_capability(q.device))
        q, k = concatenated(q, k, inputs)
        size = _multiple_of_8(q.shape[-1])
        size_of_v = _multiple_of_8(v.shape[-1]) if version.separate_v else size
        q, k = (F.pad(t, (0, size - t.shape[-1])) for t in (q, k))
        out = version.function(q, k, F.pad(v, (0, size_of_v - v.shape[-1])), softmax_scale=1.0)
        out = out[0] if isinstance(out, tuple) else out  # versions 4 and early 3 also return the log-sum-exp
        return out[..., : inputs.head_dim]


def preferred(capability: tuple[int, int]) -> Version:
    """The installed version to use on a GPU: 4 on Blackwell, where 3 has no kernels; else the first installed."""
    newest = [version for version in VERSIONS if version.number == 4]
    return newest[0] if newest and capability >= BLACKWELL else VERSIONS[0]


def _multiple_of_8(size: int) -> int:
    return -(-size // 8) * 8
