"""Measures the paper's cost tables on this machine: latency, memory, parameters, multiply-adds, share of the floor.

Every row runs in its own processes, in rounds. The defaults suit the machine: on CUDA the paper's setting (an output of
1280 x 720, training batches of 8), on the CPU SST-light at a small size. Rivals are compared with the SST named before
them.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch

from benchmarking import growth, report  # after the repository is on the path
from benchmarking.rows import DTYPES, MODES, TASKS, Workload, plan
from benchmarking.run import run, work
from measuring.results import check_words, make_folders, now, positive, size, words, write_results
from sst.ops import available_backends
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line
from standings.entries import GROUPS, NAMES, chosen

DTYPE_WORDS = ('auto', *DTYPES)
COMMON: dict[str, Any] = {
    'modes': ['fast', 'published'],
    'backends': ['auto'],
    'dtypes': ['auto'],
    'tasks': list(TASKS),
    'json': Path('results/benchmark.json'),
}
# Defaults of arguments by device.
DEFAULTS: dict[str, dict[str, Any]] = {
    'cpu': {
        'models': ['SST-light'],
        'scales': ['2'],
        'size': (512, 512),
        'batch': 4,
        'repeats': 2,
        'seconds': 5.0,
        'rounds': 1,
    },
    'cuda': {
        'models': ['SST', 'SST+', 'SST-L', 'SST-L+'],
        'scales': ['2', '3', '4'],
        'size': (1280, 720),
        'batch': 8,
        'repeats': 20,
        'seconds': 20.0,
        'rounds': 1,
    },
}
# With --against: what a user would take instead.
AGAINST: dict[str, dict[str, Any]] = {
    'cpu': {'size': (256, 256), 'modes': ['fast', 'onnx']},
    'cuda': {'modes': ['fast']},
}
PAIRS = ['SST-light', 'SwinIR-light', 'ATD-light', 'SST-L', 'SwinIR', 'HAT']
GROWTH: dict[str, Any] = {
    'models': ['SST-light'],
    'scales': ['2'],
    'json': Path('results/growth.json'),
    'chart': Path('results/growth.png'),
}
NOT_OF_GROWTH = ('against', 'modes', 'backends', 'dtypes', 'tasks', 'size', 'batch', 'patch', 'repeats', 'csv')


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        '--against',
        action='store_true',
        help=f'what a user would take instead: {",".join(PAIRS)} in inference at x2, on the CPU in ONNX Runtime too',
    )
    add(
        '--grow',
        nargs='?',
        type=sides,
        const=list(growth.SIDES),
        metavar='SIDES',
        help='time and memory of inference over square LR images of these numbers of pixels a side '
        f'({",".join(map(str, growth.SIDES))}): whole passes as far as memory allows, and tiles',
    )
    add('--models', type=words, help=f'any of {",".join(GROUPS)} (groups), {",".join(NAMES)}, or option files')
    add('--scales', type=words, help='any of 2,3,4')
    add('--modes', type=words, help=f'any of {",".join(MODES)} (fast,published)')
    add('--backends', type=words, help=f'any of auto,{",".join(available_backends())}, or all (auto)')
    add(
        '--dtypes',
        type=words,
        help=f'any of {",".join(DTYPE_WORDS)} (auto: float32 on CPU, half precision on CUDA)',
    )
    add('--tasks', type=words, help=f'any of {",".join(TASKS)} (both)')
    add('--size', type=size, metavar='WIDTHxHEIGHT', help='size of the SR image in inference')
    add('--batch', type=positive, help='images in a training step')
    add('--patch', type=positive, help='side of LR patches in training (as published: 96 for "+", otherwise 64)')
    add('--repeats', type=positive, help='repetitions in each process')
    add('--seconds', type=float, help='stop repeating after this time, but not before two repetitions')
    add('--rounds', type=positive, help='number of processes for each row, in turn')
    add('--device', choices=list(DEFAULTS), default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--threads', type=positive, help='threads of the CPU, of torch and of ONNX Runtime (one for each core)')
    add('--json', type=Path, help=f'file for all results ({COMMON["json"]}; with --grow {GROWTH["json"]})')
    add('--csv', type=Path, help='file for the table')
    add(
        '--chart',
        type=Path,
        help=f'file for a chart of latency and PSNR, or of growth ({GROWTH["chart"]}): .png, .svg or .pdf',
    )
    add('--work', help=argparse.SUPPRESS)  # how this program calls itself
    args = parser.parse_args(arguments)
    if args.grow and (given := [name for name in NOT_OF_GROWTH if getattr(args, name)]):
        raise UserError(f'--grow cannot be combined with --{" --".join(given)}; leave one of them out')
    against = {'models': PAIRS, 'scales': ['2'], 'tasks': ['inference'], **AGAINST[args.device]}
    defaults = {**COMMON, **DEFAULTS[args.device], **(against if args.against else {}), **(GROWTH if args.grow else {})}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def sides(text: str) -> list[int]:
    """The value of `--grow`."""
    return [positive(word) for word in words(text)]


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments name.

    Raises:
        UserError: an argument names something unknown, or a folder to write into cannot be made.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: there is no usable GPU; use --device cpu')
    backends = list(available_backends()) if args.backends == ['all'] else args.backends
    check_words('scales', args.scales, ('2', '3', '4'))
    models = chosen(args.models)
    scales = [int(scale) for scale in args.scales]
    if args.grow:
        make_folders(args.json, args.chart)
        common = {'seconds': args.seconds, 'rounds': args.rounds, 'threads': args.threads}
        return {'date': now(), **growth.grow(models, scales, args.grow, args.device, **common)}
    check_words('modes', args.modes, MODES)
    check_words('backends', backends, ('auto', *available_backends()))
    check_words('dtypes', args.dtypes, DTYPE_WORDS)
    check_words('tasks', args.tasks, TASKS)
    make_folders(args.json, args.csv, args.chart)
    rows = plan(
        models,
        scales,
        args.modes,
        backends,
        args.dtypes,
        args.tasks,
        Workload(args.size, args.batch, args.patch),
        device=args.device,
        repeats=args.repeats,
        seconds=args.seconds,
    )
    return {'date': now(), **run(rows, args.device, args.rounds, args.threads)}


def main(arguments: Sequence[str] | None = None) -> None:
    with in_one_line():
        args = read_arguments(arguments)
    if args.work:
        print(json.dumps(work(json.loads(args.work))))
        return
    with in_one_line():
        outcome = benchmark(args)
        if args.grow:
            growth.print_table(outcome)
        else:
            report.print_tables(outcome)
        if args.csv:
            report.write_csv(outcome['rows'], args.csv)
        write_results(outcome, args.json, args.chart, growth.draw if args.grow else report.draw)
    if outcome['interrupted']:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    if any(row.get('wrong') or 'failed' in row for row in outcome['rows']):
        sys.exit(1)


if __name__ == '__main__':
    main()
