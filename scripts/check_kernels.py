"""Compiles the Triton kernels for GPUs that need not be there: `python scripts/check_kernels.py`.

For every layer of the published models it prints registers per thread, bytes per thread that did not fit into them,
shared memory and, of attention, issue slots: the time to issue the instructions of the inner loop, in times of its
exponentials. Then come that loop's loads from global memory, and how many of them are narrow: they read 4 bytes only.
It fails where a kernel of the forward pass does not fit.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too
os.environ['TRITON_INTERPRET'] = '0'  # before Triton is imported: interpreted kernels cannot be compiled

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from sst.ops.kernels.configurations import KERNELS
from sst.utils.command_line import CommandLine
from sst.utils.errors import in_one_line
from tuning.compiling import DTYPES, POINTWISE, Build, Usage, compile_kernel, parts_of, require_triton

ROOT = Path(__file__).resolve().parents[1]
CAPABILITIES = (80, 89, 90)
HELD = ('forward', *POINTWISE)  # to not spilling


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published = sorted((ROOT / 'options').glob('test_SST*_x2.yml'))
    parser.add_argument('options', nargs='*', type=Path, default=published, help='option files; the published models')
    parser.add_argument('--kernels', nargs='+', choices=KERNELS + POINTWISE, default=KERNELS + POINTWISE)
    parser.add_argument('--dtypes', nargs='+', choices=tuple(DTYPES), default=('float16',), help='computed in')
    parser.add_argument('--map', choices=tuple(DTYPES), help='dtype of the map, where it is not that computed in')
    parser.add_argument('--capabilities', nargs='+', type=int, default=CAPABILITIES, help='90 is Hopper')
    args = parser.parse_args(arguments)
    with in_one_line():
        require_triton()
        parts = {k: sorted({part for path in args.options for part in parts_of(path, k)}) for k in args.kernels}
    builds = [
        Build(*case)
        for kernel in args.kernels
        for case in product([kernel], args.dtypes, parts[kernel], args.capabilities)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        usages = pool.map(partial(compile_present, args.map), builds)
        results = dict(zip(builds, tqdm(usages, total=len(builds), unit='kernel'), strict=True))
    Console(width=120).print(table(results, args.capabilities))
    spilling = [build for build, usage in results.items() if build.kernel in HELD and usage.spilled]
    if spilling:
        print(f'error: kernels that spill registers: {spilling}', file=sys.stderr)
        sys.exit(1)


def compile_present(map_dtype: str | None, build: Build) -> Usage:
    return compile_kernel(build, map_dtype=map_dtype)


def table(results: dict[Build, Usage], capabilities: Sequence[int]) -> Table:
    """One line for a kernel of a layer, a column for each compute capability."""
    columns = ('kernel', 'dtype', 'head/widths', 'rank', 'window', 'heads', *(f'sm_{c}' for c in capabilities))
    shown = Table(*columns, title='registers / spilled bytes / KiB shared / issue slots / loads / narrow')
    for build in results:
        if build.capability == capabilities[0]:
            cells = (cell(target, results[target]) for target in (replace(build, capability=c) for c in capabilities))
            shown.add_row(build.kernel, build.dtype, *build.part.cells(), *cells)
    return shown


def cell(build: Build, usage: Usage) -> str:
    """What a kernel takes, and its issue slots and loads where it has a loop."""
    if usage.loop is None:
        return str(usage)
    configuration = build.present()
    logits = configuration.block_m * configuration.block_n
    slots = usage.loop.slots(logits, configuration.num_warps)
    return f'{usage} / {slots:.2f} / {usage.loop.loads} / {usage.loop.narrow}'


if __name__ == '__main__':
    main()
