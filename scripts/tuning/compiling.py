"""Compiles the fused attention's kernels for GPUs that need not be there."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sst.ops.kernels.configurations import Configuration, find_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.kernels.layout import Layout
from sst.options import load_options
from sst.utils.errors import UserError

DTYPES = {'float16': 'fp16', 'bfloat16': 'bf16', 'float32': 'fp32'}  # torch's and Triton's names
INTEGERS = ('height', 'width', 'rows', 'columns', 'windows', 'share')
FACTORS = ('factor_q', 'factor_k')  # in the dtype of the matrix products
IN_FLOAT32 = ('lse', 'delta', 'd_factor')  # whatever the dtype of the others


@dataclass(frozen=True, order=True)
class Layer:
    """What of an attention layer the kernels are compiled for."""

    head_dim: int
    rank: int
    window: int
    num_heads: int

    @property
    def layout(self) -> Layout:
        return Layout(self.head_dim, self.rank)


@dataclass(frozen=True)
class Build:
    """A kernel of a layer on a GPU; `dtype` is that of the matrix products."""

    kernel: str
    dtype: str
    layer: Layer
    capability: int

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def present(self) -> Configuration:
        """The table's configuration."""
        layer = self.layer
        return find_configuration(self.kernel, self.torch_dtype, self.capability, layer.layout, layer.window)


@dataclass(frozen=True)
class Usage:
    """What a thread and a program take of a multiprocessor."""

    registers: int
    spilled: int  # bytes per thread
    shared: int  # bytes per program

    def __str__(self) -> str:
        return f'{self.registers} / {self.spilled} / {self.shared / 1024:.0f}'


def require_triton() -> None:
    """Raises UserError where Triton is not installed."""
    if not find_spec('triton'):
        raise UserError("Triton is not installed (pip install 'sst-sr[fused]')")


def layers_of(path: Path) -> list[Layer]:
    """The attention layers of the network of an option file."""
    net = load_options(path)['network_g']
    ranks = net['bias'].get('ranks', [0] * len(net['window_sizes']))
    return [
        Layer(net['dim'] // heads, rank, window, heads)
        for window, heads, rank in zip(net['window_sizes'], net['num_heads'], ranks, strict=True)
    ]


def compile_kernel(build: Build, configuration: Configuration, map_dtype: str | None = None) -> Usage:
    """Compile one kernel, with all it can do: a gate, and what the gradients need saved.

    The outcome stays in Triton's cache, where a launch on such a GPU finds it. `map_dtype` is that of the map, where it
    is not that computed in.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sst.ops.kernels.backward import key_kernel, query_kernel
    from sst.ops.kernels.forward import forward_kernel

    function: Any = {'forward': forward_kernel, 'query': query_kernel, 'key': key_kernel}[build.kernel]
    layer = build.layer
    geometry = Geometry(1, 320, 180, layer.layout, layer.window, layer.num_heads, 0, build.torch_dtype)
    keywords = configuration.keywords()
    blocks = {name: keywords.pop(name) for name in ('BLOCK_M', 'BLOCK_N')}
    constants = {**geometry.constants(), **blocks}
    if not layer.rank:
        constants |= dict.fromkeys(FACTORS)
    signature: dict[str, str] = {}
    attributes: dict[tuple[int], list[list[object]]] = {}  # all as a launch has them, or it would not find this build
    for index, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = 'constexpr'
            attributes[(index,)] = []
        elif name in INTEGERS:
            signature[name] = 'i32'
        else:
            own = 'float32' if name in IN_FLOAT32 else build.dtype if name in FACTORS else map_dtype or build.dtype
            signature[name] = f'*{DTYPES[own]}'
            attributes[(index,)] = [['tt.divisibility', 16]]
    source = ASTSource(function, signature, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget('cuda', build.capability, 32), options=keywords)
    return Usage(*registers_and_stack(compiled.asm['cubin']), compiled.metadata.shared)


def registers_and_stack(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack per thread, the latter being registers spilled: the kernels have no arrays."""
    import triton

    program = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        command = [str(program), '--dump-resource-usage', file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r'REG:(\d+) STACK:(\d+)', text)
    assert found, text
    return int(found[1]), int(found[2])
