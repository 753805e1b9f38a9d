"""Measures the paper's cost tables on this machine: latency, memory, parameters, multiply-adds, share of the floor.

Every row runs in its own processes, in rounds. The defaults suit the machine: on CUDA the paper's setting (an output of
1280 x 720, training batches of 8), on the CPU SST-light at a small size.
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

from benchmarking import report  # after the repository is on the path
from benchmarking.models import MODELS
from benchmarking.rows import DTYPES, MODES, TASKS, Workload, plan
from benchmarking.run import run, work
from measuring.results import check_words, make_folders, now, positive, size, words, write_results
from sst.ops import available_backends
from sst.utils.errors import UserError, in_one_line

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


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--models', type=words, help=f'any of {",".join(MODELS)}, or option files, separated by commas')
    add('--scales', type=words, help='any of 2,3,4')
    add('--modes', type=words, default=['fast', 'published'], help=f'any of {",".join(MODES)} (fast,published)')
    add('--backends', type=words, default=['auto'], help=f'any of auto,{",".join(available_backends())}, or all (auto)')
    add(
        '--dtypes',
        type=words,
        default=['auto'],
        help=f'any of auto,{",".join(DTYPES)} (auto: float32 on CPU, half precision on CUDA)',
    )
    add('--tasks', type=words, default=list(TASKS), help=f'any of {",".join(TASKS)} (both)')
    add('--size', type=size, metavar='WIDTHxHEIGHT', help='size of the SR image in inference')
    add('--batch', type=positive, help='images in a training step')
    add('--patch', type=positive, help='side of LR patches in training (as published: 96 for "+", otherwise 64)')
    add('--repeats', type=positive, help='repetitions in each process')
    add('--seconds', type=float, help='stop repeating after this time, but not before two repetitions')
    add('--rounds', type=positive, help='number of processes for each row, in turn')
    add('--device', choices=list(DEFAULTS), default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--json', type=Path, default=Path('results/benchmark.json'), help='file for all results (%(default)s)')
    add('--csv', type=Path, help='file for the table')
    add('--chart', type=Path, help='file for a chart of latency and PSNR (.png, .svg, .pdf)')
    add('--work', help=argparse.SUPPRESS)  # how this program calls itself
    args = parser.parse_args(arguments)
    for name, value in DEFAULTS[args.device].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments name.

    Raises:
        UserError: an argument names something unknown, or a folder to write into cannot be made.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: there is no usable GPU; use --device cpu')
    backends = list(available_backends()) if args.backends == ['all'] else args.backends
    check_words('scales', args.scales, ('2', '3', '4'))
    check_words('modes', args.modes, MODES)
    check_words('backends', backends, ('auto', *available_backends()))
    check_words('dtypes', args.dtypes, ('auto', *DTYPES))
    check_words('tasks', args.tasks, TASKS)
    make_folders(args.json, args.csv, args.chart)
    rows = plan(
        args.models,
        [int(scale) for scale in args.scales],
        args.modes,
        backends,
        args.dtypes,
        args.tasks,
        Workload(args.size, args.batch, args.patch),
        device=args.device,
        repeats=args.repeats,
        seconds=args.seconds,
    )
    return {'date': now(), **run(rows, args.device, args.rounds)}


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    if args.work:
        print(json.dumps(work(json.loads(args.work))))
        return
    with in_one_line():
        outcome = benchmark(args)
        report.print_tables(outcome)
        if args.csv:
            report.write_csv(outcome['rows'], args.csv)
        write_results(outcome, args.json, args.chart, report.draw)
    if outcome['interrupted']:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    if any(row.get('wrong') or 'failed' in row for row in outcome['rows']):
        sys.exit(1)


if __name__ == '__main__':
    main()
