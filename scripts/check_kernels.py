"""Compiles the Triton kernels for GPUs that need not be there: `python scripts/check_kernels.py`.

For every layer of the published models it prints registers per thread, bytes per thread that did not fit into registers
and shared memory, and fails where a kernel of the forward pass does not fit.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too
os.environ['TRITON_INTERPRET'] = '0'  # before Triton is imported: interpreted kernels cannot be compiled

import torch
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from sst.ops.kernels.configurations import Configuration, backward_configuration, forward_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.kernels.layout import Layout
from sst.ops.kernels.pointwise_op import DepthwiseBlocks, LinearBlocks, channel_tiles
from sst.options import load_options
from sst.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
ATTENTION = ('forward', 'query', 'key')  # the last two take its gradients
POINTWISE = ('linear', 'depthwise')
DTYPES = {'float16': 'fp16', 'bfloat16': 'bf16', 'float32': 'fp32'}  # torch's and Triton's names
CAPABILITIES = (80, 89, 90)
INTEGERS = ('height', 'width', 'rows', 'columns', 'windows', 'share')
LAUNCH = ('num_warps', 'num_stages', 'enable_fp_fusion')
FACTORS = ('factor_q', 'factor_k')  # in the dtype of the matrix products
IN_FLOAT32 = ('lse', 'delta', 'd_factor')  # whatever the dtype of the others


@dataclass(frozen=True, order=True)
class Layer:
    """What of an attention layer the kernels are compiled for."""

    head_dim: int
    rank: int
    window: int
    num_heads: int

    def cells(self) -> tuple[str, ...]:
        return tuple(map(str, (self.head_dim, self.rank, self.window, self.num_heads)))


@dataclass(frozen=True, order=True)
class Widths:
    """What of a ConvFFN the pointwise kernels are compiled for."""

    dim: int
    hidden: int

    def cells(self) -> tuple[str, ...]:
        return f'{self.dim} to {self.hidden}', '', '', ''


Case = tuple[str, str, Layer | Widths, int]  # kernel, dtype, what for, compute capability


@dataclass(frozen=True)
class Usage:
    """What a thread and a program take of a multiprocessor."""

    registers: int
    spilled: int  # bytes per thread
    shared: int  # bytes per program

    def __str__(self) -> str:
        return f'{self.registers} / {self.spilled} / {self.shared / 1024:.0f}'


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published = sorted((ROOT / 'options').glob('test_SST*_x2.yml'))
    parser.add_argument('options', nargs='*', type=Path, default=published, help='option files; the published models')
    parser.add_argument('--kernels', nargs='+', choices=ATTENTION + POINTWISE, default=ATTENTION + POINTWISE)
    parser.add_argument('--dtypes', nargs='+', choices=tuple(DTYPES), default=('float16',), help='computed in')
    parser.add_argument('--map', choices=tuple(DTYPES), help='dtype of the map, where it is not that computed in')
    parser.add_argument('--capabilities', nargs='+', type=int, default=CAPABILITIES, help='90 is Hopper')
    args = parser.parse_args(arguments)
    try:
        if not find_spec('triton'):
            raise UserError("Triton is not installed (pip install 'sst-sr[fused]')")
        networks = [load_options(path)['network_g'] for path in args.options]
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    cases: list[Case] = []
    for kernel in args.kernels:
        parts = sorted({part for net in networks for part in (layers_of if kernel in ATTENTION else widths_of)(net)})
        cases += product([kernel], args.dtypes, parts, args.capabilities)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        usages = pool.map(partial(compile_kernel, args.map), *zip(*cases, strict=True))
        results = dict(zip(cases, tqdm(usages, total=len(cases), unit='kernel'), strict=True))
    Console(width=120).print(table(results, args.capabilities))
    spilling = [case for case, usage in results.items() if case[0] in ('forward', *POINTWISE) and usage.spilled]
    if spilling:
        print(f'error: kernels that spill registers: {spilling}', file=sys.stderr)
        sys.exit(1)


def layers_of(net: dict[str, Any]) -> list[Layer]:
    """The attention layers of a network, from its options."""
    ranks = net['bias'].get('ranks', [0] * len(net['window_sizes']))
    return [
        Layer(net['dim'] // heads, rank, window, heads)
        for window, heads, rank in zip(net['window_sizes'], net['num_heads'], ranks, strict=True)
    ]


def widths_of(net: dict[str, Any]) -> list[Widths]:
    """The widths of a network's ConvFFN, from its options."""
    return [Widths(net['dim'], int(net['dim'] * net['ffn_expansion']))]


def compile_kernel(map_dtype: str | None, kernel: str, dtype_name: str, part: Layer | Widths, capability: int) -> Usage:
    """Compile one kernel, with all it can do: a gate, what the gradients need saved, a norm."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    dtype, version = getattr(torch, dtype_name), divmod(capability, 10)
    if isinstance(part, Layer):
        function, constants = attention(kernel, dtype, part, version)
    else:
        function, constants = pointwise(kernel, dtype, part, version)
    keywords = {name: constants.pop(name) for name in LAUNCH}
    signature, aligned = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = 'constexpr'
        elif name in INTEGERS:
            signature[name] = 'i32'
        else:
            own = 'float32' if name in IN_FLOAT32 else dtype_name if name in FACTORS else map_dtype or dtype_name
            signature[name] = f'*{DTYPES[own]}'
            aligned[(index,)] = [['tt.divisibility', 16]]
    source = ASTSource(function, signature, constants, aligned)
    compiled = triton.compile(source, target=GPUTarget('cuda', capability, 32), options=keywords)
    return Usage(*registers_and_stack(compiled.asm['cubin']), compiled.metadata.shared)


def attention(kernel: str, dtype: torch.dtype, layer: Layer, capability: tuple[int, int]) -> tuple[Any, dict[str, Any]]:
    """A kernel of attention, with its constants and how it is launched."""
    from sst.ops.kernels.backward import key_kernel, query_kernel
    from sst.ops.kernels.forward import forward_kernel

    layout = Layout(layer.head_dim, layer.rank)
    geometry = Geometry(1, 320, 180, layout, layer.window, layer.num_heads, 0, dtype)
    keywords = configuration(kernel, capability, layout, dtype).within(layer.window).keywords()
    without = {} if layer.rank else dict.fromkeys(FACTORS)
    function = {'forward': forward_kernel, 'query': query_kernel, 'key': key_kernel}[kernel]
    return function, {**geometry.constants(), **keywords, **without}


def pointwise(
    kernel: str, dtype: torch.dtype, widths: Widths, capability: tuple[int, int]
) -> tuple[Any, dict[str, Any]]:
    """A kernel of `sst.ops.kernels.pointwise`, with its constants and how it is launched."""
    from sst.ops.kernels.pointwise import depthwise_kernel, linear_kernel

    if kernel == 'depthwise':
        return depthwise_kernel, {'F': widths.hidden, **DepthwiseBlocks.of(capability, widths.hidden).keywords()}
    first, second = channel_tiles(widths.dim)
    sizes = {'C': widths.dim, 'K': widths.hidden, 'FIRST': first, 'SECOND': second}
    blocks = LinearBlocks.of(capability, dtype, widths.hidden).keywords()
    return linear_kernel, {'EPS': 1e-6, 'ACTIVATION': 'gelu', **sizes, **blocks}


def configuration(kernel: str, capability: tuple[int, int], layout: Layout, dtype: torch.dtype) -> Configuration:
    if kernel == 'forward':
        return forward_configuration(capability, layout, dtype)
    return backward_configuration(capability, dtype)


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


def table(results: dict[Case, Usage], capabilities: Sequence[int]) -> Table:
    """One line for a kernel of a layer, a column for each compute capability."""
    columns = ('kernel', 'dtype', 'head/widths', 'rank', 'window', 'heads', *(f'sm_{c}' for c in capabilities))
    shown = Table(*columns, title='registers / spilled bytes / KiB shared')
    for kernel, dtype, part, capability in results:
        if capability == capabilities[0]:
            usages = (results[kernel, dtype, part, c] for c in capabilities)
            shown.add_row(kernel, dtype, *part.cells(), *map(str, usages))
    return shown


if __name__ == '__main__':
    main()
