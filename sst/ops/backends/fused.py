"""Our Triton kernels. They read windows from the map directly, so nothing is padded, cut or concatenated."""

import os
import shutil
import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from sst.ops.backends.base import Backend, Inputs, older_than_ampere
from sst.ops.kernels.layout import Layout
from sst.ops.kernels.op import fused_attention
from sst.ops.verdicts import taken
from sst.utils.optional import why_not

# Looked up once: nothing of this changes while a program runs, and torch.compile cannot trace the look-ups.
NO_TRITON = why_not('triton', 'language')  # '' if it works
INSTALLED = not NO_TRITON
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'  # Triton's switch to run kernels on the CPU, for tests
HEADERS = Path(sysconfig.get_config_var('INCLUDEPY') or '', 'Python.h')
CAN_BUILD = HEADERS.exists() and bool(os.environ.get('CC') or shutil.which('gcc') or shutil.which('clang'))

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MAX_SIZE = 64  # larger tiles fit neither the registers nor the shared memory of smaller GPUs


def device_reasons(device: torch.device) -> list[str]:
    """The reasons why Triton's kernels cannot run on `device`; empty if they can."""
    if NO_TRITON:
        return [f"Triton {NO_TRITON} (pip install 'sst-sr[fused]')"]
    if INTERPRETED:
        return [] if device.type in ('cpu', 'cuda') else [f'the input is on {device.type}']
    if device.type != 'cuda':
        return [f'it needs a CUDA device, and the input is on {device.type}']
    reasons = []
    if older_than_ampere(device):
        reasons.append('the GPU is older than Ampere (compute capability 8.0)')
    if not CAN_BUILD:
        reasons.append('Triton needs a C compiler and the header files of Python (apt install gcc python3-dev)')
    return reasons


class Fused(Backend):
    """One kernel computes the gated map from qkv, two more compute the gradients. See `sst.ops.kernels`."""

    name = 'fused'

    def automatic(self, inputs: Inputs) -> bool:
        """Where a check on this machine has found it right and not slower (`sst.ops.fused_check`)."""
        if not (inputs.qkv.is_cuda or INTERPRETED):
            return False
        sizes = inputs.window, inputs.num_heads, inputs.head_dim, inputs.rank
        dtypes = inputs.qkv.dtype, inputs.dtype
        return taken(inputs.qkv.device, *dtypes, *sizes, inputs.gate is not None, inputs.needs_gradients)

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = [*device_reasons(inputs.qkv.device), *self._dtype_reasons(inputs)]
        reasons += inputs.unfactored()
        if inputs.rotation is not None:
            reasons.append('it cannot rotate q and k')
        for what, size in (('head size', inputs.head_dim), ('rank', inputs.rank)):
            if size > MAX_SIZE:
                reasons.append(f'the {what} must be at most {MAX_SIZE}, not {size}')
        if not 0 <= inputs.shift < inputs.window:
            reasons.append(f'the shift must be 0 to {inputs.window - 1} (window - 1), not {inputs.shift}')
        return reasons

    @staticmethod
    def _dtype_reasons(inputs: Inputs) -> list[str]:
        reasons = []
        if inputs.dtype not in DTYPES:
            reasons.append(f'it computes in float16, bfloat16 or float32, not {inputs.dtype} (set attention_dtype)')
        elif inputs.qkv.dtype not in DTYPES:
            reasons.append(f'it reads float16, bfloat16 or float32, not {inputs.qkv.dtype}')
        if INTERPRETED and torch.bfloat16 in (inputs.dtype, inputs.qkv.dtype):
            reasons.append("Triton's interpreter multiplies bfloat16 wrongly")
        return reasons

    def reads_padding(self, inputs: Inputs) -> bool:
        layout = Layout(inputs.head_dim, inputs.rank, inputs.padding)
        return layout.pitch <= layout.lanes

    def __call__(self, inputs: Inputs) -> Tensor:
        factors = inputs.factors or (None, None)
        options = (inputs.window, inputs.num_heads, inputs.shift, inputs.padding, inputs.dtype)
        return fused_attention(inputs.qkv, *factors, inputs.gate, *options, inputs.needs_gradients)[0]
