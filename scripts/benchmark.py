"""The paper's cost tables of this machine: latency, memory, parameters, multiply-adds and how near the floor they come.

Every row runs in processes of its own, in rounds. `python scripts/benchmark.py` takes defaults that suit the machine:
on CUDA the paper's (an output of 1280 x 720; training batches of 8), on the CPU SST-light at a small size.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch: threads that spin cost much where cores are shared
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch

from benchmarking import report  # after the repository is on the path
from benchmarking.models import MODELS
from benchmarking.rows import DTYPES, MODES, TASKS, Workload, plan
from benchmarking.run import run, work
from sst.ops import available_backends
from sst.utils.errors import UserError, in_one_line
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text

# What is taken where nothing is said, by kind of device.
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
    add('--models', type=_words, help=f'of {",".join(MODELS)} or option files, with commas between')
    add('--scales', type=_words, help='of 2,3,4')
    add('--modes', type=_words, default=['fast', 'published'], help=f'of {",".join(MODES)} (fast,published)')
    add('--backends', type=_words, default=['auto'], help=f'of auto,{",".join(available_backends())}, or all (auto)')
    add('--dtypes', type=_words, default=['auto'], help=f'of auto,{",".join(DTYPES)} (auto: float32, half on CUDA)')
    add('--tasks', type=_words, default=list(TASKS), help=f'of {",".join(TASKS)} (both)')
    add('--size', type=_size, metavar='WIDTHxHEIGHT', help='of the SR picture in inference')
    add('--batch', type=_positive, help='pictures of a training step')
    add('--patch', type=_positive, help='side of LR patches in training (as published: 96 for "+", else 64)')
    add('--repeats', type=_positive, help='repetitions in each process')
    add('--seconds', type=float, help='stop repeating after so long, with two at the least')
    add('--rounds', type=_positive, help='processes for each row, in turn')
    add('--device', choices=list(DEFAULTS), default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--json', type=Path, default=Path('results/benchmark.json'), help='everything, to repeat it (%(default)s)')
    add('--csv', type=Path, help='the table as a file')
    add('--chart', type=Path, help='latency against PSNR as a picture (.png, .svg, .pdf)')
    add('--work', help=argparse.SUPPRESS)  # how this program calls itself
    args = parser.parse_args(arguments)
    for name, value in DEFAULTS[args.device].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments name.

    Raises:
        UserError: an argument names what does not exist, or a folder to write into cannot be made.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: there is no usable GPU; take --device cpu')
    backends = list(available_backends()) if args.backends == ['all'] else args.backends
    _allow('scales', args.scales, ('2', '3', '4'))
    _allow('modes', args.modes, MODES)
    _allow('backends', backends, ('auto', *available_backends()))
    _allow('dtypes', args.dtypes, ('auto', *DTYPES))
    _allow('tasks', args.tasks, TASKS)
    for path in filter(None, (args.json, args.csv, args.chart)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UserError(f'{path.parent}: cannot be made ({fault.strerror}); name another file') from fault
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
    return {'date': datetime.now().astimezone().isoformat(timespec='seconds'), **run(rows, args.device, args.rounds)}


def write(args: argparse.Namespace, outcome: dict[str, Any]) -> None:
    """Write the files that were asked for. A chart that cannot be drawn is said and left out."""
    atomic_write_text(args.json, json_text(outcome, indent=1) + '\n')
    written = [args.json]
    if args.csv:
        report.write_csv(outcome['rows'], args.csv)
        written.append(args.csv)
    if args.chart:
        try:
            report.write_chart(outcome, args.chart)
            written.append(args.chart)
        except UserError as reason:
            print(reason)
    print('Written:', *written)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(',') if word.strip()]
    if not words:
        raise argparse.ArgumentTypeError('nothing is named; separate names by commas')
    return words


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    try:
        return _positive(width), _positive(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not WIDTHxHEIGHT, as 1280x720') from None


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _allow(name: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    if unknown := [word for word in given if word not in allowed]:
        raise UserError(f'--{name} {",".join(unknown)}: allowed are {", ".join(allowed)}')


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    if args.work:
        print(json.dumps(work(json.loads(args.work))))
        return
    with in_one_line():
        outcome = benchmark(args)
        report.print_tables(outcome)
        write(args, outcome)
    if outcome['interrupted']:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    if any(row.get('wrong') or 'failed' in row for row in outcome['rows']):
        sys.exit(1)


if __name__ == '__main__':
    main()
