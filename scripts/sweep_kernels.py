"""Sweeps the configurations of the fused attention's kernels: `python scripts/sweep_kernels.py`, on a GPU.

For every layer of the models every candidate is compiled, held against backend `reference` and timed; printed are the
fastest beside the present ones, and rows for the table in sst/ops/kernels/configurations.py. Without a GPU candidates
are only compiled: what spills registers or needs too much shared memory is known then, what is fast is not.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch
from rich.console import Console
from tqdm import tqdm

from measuring.results import make_folders, origin, write_json
from sst.ops.kernels.configurations import KERNELS
from sst.ops.kernels.launch import capability
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line
from tuning import report
from tuning.candidates import Choices, candidates, plan
from tuning.compiling import DTYPES, Build, layers_of, require_triton
from tuning.sweep import Result, sweep

ROOT = Path(__file__).resolve().parents[1]
MODELS = [ROOT / 'options' / f'test_{name}_x2.yml' for name in ('SST_L_plus', 'SST_L')]
OFFLINE = (80, 89, 90)  # compute capabilities
BLOCKS, WARPS, STAGES = (16, 32, 64, 128, 256), (1, 2, 4, 8, 16), (1, 2, 3, 4, 5, 6)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, usual = parser.add_argument, Choices()
    add('options', nargs='*', type=Path, default=MODELS, help='option files (SST-L+ and SST-L x2)')
    add('--kernels', nargs='+', choices=KERNELS, default=KERNELS)
    add('--dtypes', nargs='+', choices=tuple(DTYPES), default=('float16', 'bfloat16'), help='computed in')
    add('--windows', nargs='+', type=int, help='only layers with these')
    add('--blocks', nargs='+', type=int, choices=BLOCKS, default=usual.blocks, help='tokens, of queries and of keys')
    add('--warps', nargs='+', type=int, choices=WARPS, default=usual.warps)
    add('--stages', nargs='+', type=int, choices=STAGES, default=usual.stages)
    add('--offline', action='store_true', help='only compile, for GPUs that need not be there')
    add('--capabilities', nargs='+', type=int, default=OFFLINE, help='of those GPUs (80 89 90); 90 is Hopper')
    add('--seconds', type=float, default=600.0, help='the most it takes (%(default)s); large windows go first')
    add('--seed', type=int, default=0, help='of the order in which candidates are timed')
    add('--json', type=Path, default=Path('results/sweep.json'), help='everything, in a file (%(default)s)')
    return parser.parse_args(arguments)


def usable_gpu() -> torch.device | None:
    return torch.device('cuda', torch.cuda.current_device()) if torch.cuda.is_available() else None


def builds_of(args: argparse.Namespace, capabilities: Sequence[int]) -> list[Build]:
    """What the arguments name.

    Raises:
        UserError: an option file is faulty, or none has such a window.
    """
    layers = list(dict.fromkeys(layer for path in args.options for layer in layers_of(path)))
    windows = sorted({layer.window for layer in layers})
    layers = [layer for layer in layers if layer.window in (args.windows or windows)]
    if not layers:
        raise UserError(f'--windows {" ".join(map(str, args.windows))}: the models have {" ".join(map(str, windows))}')
    return [build for target in capabilities for build in plan(layers, args.kernels, args.dtypes, target)]


def run(args: argparse.Namespace) -> bool:
    """Sweep, print and write. Whether every configuration of the table that was tried is right and can be used.

    Raises:
        UserError: Triton is not installed, an argument names what is not there, or the file cannot be written.
    """
    if not args.seconds >= 0:
        raise UserError(f'--seconds {args.seconds:g}: must be 0 or more')
    deadline = time.monotonic() + args.seconds
    require_triton()
    device = None if args.offline else usable_gpu()
    if not device and not args.offline:
        print('There is no usable GPU, so candidates are only compiled (--offline).', file=sys.stderr)
        args.offline = True
    target = capability(device) if device else None
    builds = builds_of(args, [target] if target else args.capabilities)
    choices = Choices(args.blocks, args.warps, args.stages)
    make_folders(args.json)
    results: list[Result] = []
    end: BaseException | None = None
    total = sum(len(candidates(build, choices)) for build in builds)
    with tqdm(total=total, unit='candidate', disable=None) as bar:
        try:
            for result in sweep(builds, choices, deadline, device, bar.update, args.seed):
                results += [result]
        except (KeyboardInterrupt, RuntimeError) as reason:  # what is there is kept
            end = reason
    outcome = {
        **origin(device or torch.device('cpu')),
        'offline': args.offline,
        'interrupted': end is not None,
        'not_reached': len(builds) - len(results),
        'builds': [report.as_json(result) for result in results],
    }
    write_json(outcome, args.json)
    show(results, args, len(builds))
    if end:
        raise end
    return not any(report.unusable(result.present) for result in results)


def show(results: Sequence[Result], args: argparse.Namespace, builds: int) -> None:
    """Print the table, what is wrong, and the rows to paste."""
    console = Console(width=140, highlight=False, markup=False)
    console.print(report.compiled_table(results) if args.offline else report.timed_table(results))
    if len(results) < builds:
        missing = builds - len(results)
        console.print(f'{missing} of {builds} were not reached in {args.seconds:g} s (--seconds)', soft_wrap=True)
    for fault in report.faults(results):
        console.print(fault, style='red', soft_wrap=True)
    if not args.offline:
        lines = report.rows(results)
        console.print('For the top of TABLE in sst/ops/kernels/configurations.py:' if lines else 'No row gains enough.')
        for line in lines:
            console.print(f'    {line}', soft_wrap=True)
    console.print(f'Written: {args.json}', soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    os.environ['TRITON_INTERPRET'] = '0'  # before Triton is imported: interpreted kernels cannot be compiled
    with in_one_line():
        sound = run(args)
    sys.exit(not sound)


if __name__ == '__main__':
    main()
