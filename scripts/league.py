"""SST and its rivals in one table: costs measured here, quality where weights are there, published figures beside.

Every figure is measured in a process of its own, in rounds. The defaults suit the machine: on CUDA an SR image of
1280 x 720 and training batches of 8, on the CPU the light models at a small size, in about ten minutes.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch
from rich.console import Console
from tqdm import tqdm

from benchmarking.rows import AUTO_DTYPES, Row
from benchmarking.run import problem, timed
from measuring.processes import in_process
from measuring.results import check_words, make_folders, origin, positive, size, words, write_results
from sst.rivals.figures import published_figures
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line
from sst.utils.files import atomic_write_text
from standings import chart, tables
from standings.entries import GROUPS, NAMES, Entry, chosen
from standings.measure import COUNTED, work
from standings.quality import IN_RGB, METRICS, WITHOUT_HR, changes_for, scores

WIDTH = 160  # letters of a line that no terminal limits
TASKS = ('costs', 'training', 'latency', 'quality')
NO_TRAINING = tuple(task for task in TASKS if task != 'training')
PRESETS: dict[str, dict[str, Any]] = {
    'paper': {'size': COUNTED, 'batch': 8, 'patch': 64},
    'ntire-esr': {'scales': ['4'], 'size': (1024, 1024), 'tasks': list(NO_TRAINING), 'metrics': ['psnr']},
    'real': {'scales': ['4'], 'tasks': ['quality'], 'metrics': ['niqe']},
}
DEFAULTS: dict[str, dict[str, Any]] = {
    'cpu': {'models': ['light'], 'scales': ['2'], 'size': (128, 128), 'batch': 1, 'patch': 32, 'repeats': 2},
    'cuda': {'models': ['all'], 'scales': ['2', '3', '4'], 'size': COUNTED, 'batch': 8, 'patch': 64, 'repeats': 20},
}
# NTIRE 2025: the score is 0.7 exp(2 t / t_b) + 0.15 exp(2 f / f_b) + 0.15 exp(2 p / p_b), b the baseline EFDN.
BASELINE = {'latency': 22.18e-3, 'multiply_adds': 16.70e9, 'parameters': 0.276e6}
WEIGHTS = {'latency': 0.7, 'multiply_adds': 0.15, 'parameters': 0.15}


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        '--preset',
        choices=list(PRESETS),
        help='paper: its sizes; ntire-esr: x4, LR of 256 x 256, RGB, a score; real: --images, NIQE',
    )
    add('--models', type=words, help=f'any of {",".join(GROUPS)} (groups), {",".join(NAMES)}, or option files')
    add('--scales', type=words, help='any of 2,3,4')
    add('--tasks', type=words, help=f'any of {",".join(TASKS)} (all)')
    add('--size', type=size, metavar='WIDTHxHEIGHT', help='size of the SR image')
    add('--batch', type=positive, help='images in a training step')
    add('--patch', type=positive, help='side of LR patches in training')
    add('--repeats', type=positive, help='repetitions in each process')
    add('--seconds', type=float, default=10.0, help='stop repeating after this time (%(default)s)')
    add('--rounds', type=positive, default=1, help='processes for each figure, in turn (%(default)s)')
    add('--device', choices=list(DEFAULTS), default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--metrics', type=words, help=f'any of {",".join(METRICS)} (psnr,ssim)')
    add('--images', type=Path, metavar='FOLDER', help=f'images without HR to test on, by {",".join(WITHOUT_HR)}')
    add('--root', type=Path, default=Path.cwd(), help='where weights and data sets lie (the current folder)')
    add('--out', type=Path, default=Path('results/league'), help='folder for the files (%(default)s)')
    add('--work', help=argparse.SUPPRESS)  # how this program calls itself
    args = parser.parse_args(arguments)
    for name, value in {
        'tasks': list(TASKS),
        'metrics': ['psnr', 'ssim'],
        **DEFAULTS[args.device],
        **PRESETS.get(args.preset, {}),
    }.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def league(args: argparse.Namespace) -> dict[str, Any]:
    """Measure what the arguments name. Ctrl-C ends it with what is there.

    Raises:
        UserError: an argument names something unknown, or a folder cannot be made.
    """
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: there is no usable GPU; use --device cpu')
    check_words('scales', args.scales, ('2', '3', '4'))
    check_words('tasks', args.tasks, TASKS)
    check_words('metrics', args.metrics, tuple(METRICS))
    check_images(args)
    entries = [Entry(model, int(scale)) for scale in args.scales for model in chosen(args.models)]
    make_folders(args.out / 'league.json')
    answers: dict[tuple[Entry, str], list[dict[str, Any]]] = {}
    jobs = [(entry, task) for number in range(args.rounds) for task in args.tasks for entry in entries
            if number == 0 or task in ('training', 'latency')]  # fmt: skip
    interrupted = False
    try:
        with tqdm(jobs, unit='figure', disable=None) as bar:
            for entry, task in bar:
                bar.set_postfix_str(f'{entry.name} x{entry.scale} {task}')
                before = answers.setdefault((entry, task), [])
                if not any(problem(answer) for answer in before):  # what failed once is not tried again
                    before.append(answer_to(entry, task, args))
    except KeyboardInterrupt:
        interrupted = True
    setting = {name: getattr(args, name) for name in ('preset', 'size', 'batch', 'patch', 'rounds')}
    rows = [row_of(entry, {task: answers.get((entry, task), []) for task in args.tasks}) for entry in entries]
    if args.preset == 'ntire-esr':
        add_scores(rows)
    device = torch.device(args.device)
    return {**origin(device), **setting, 'interrupted': interrupted, 'rows': rows}


def check_images(args: argparse.Namespace) -> None:
    """Raise UserError if `--images` names no folder, or metrics need HR that it lacks."""
    if args.images is None:
        if args.preset == 'real':
            raise UserError('--preset real: needs a folder of images; add --images FOLDER')
        return
    if not args.images.is_dir():
        raise UserError(f'--images {args.images}: no such folder')
    if needing := [name for name in args.metrics if name not in WITHOUT_HR]:
        raise UserError(f'--metrics {",".join(needing)}: need HR; with --images use {", ".join(WITHOUT_HR)}')


def answer_to(entry: Entry, task: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a task finds of a model: figures, or 'refused' or 'failed' with the reason."""
    try:
        if task == 'quality':
            changes = changes_for(entry, args.metrics, args.images)
            return scores(entry, args.root, [*changes, *(IN_RGB if args.preset == 'ntire-esr' else ())])
        return in_process(Path(__file__).resolve(), {'what': task, 'row': asdict(row_to_measure(entry, task, args))})
    except UserError as reason:
        return {'failed': ' '.join(str(reason).split())}


def row_to_measure(entry: Entry, task: str, args: argparse.Namespace) -> Row:
    training = task == 'training'
    width, height = (args.patch, args.patch) if training else (-(-side // entry.scale) for side in args.size)
    kind = 'training' if training else 'inference'
    dtype = AUTO_DTYPES.get((args.device, kind), 'float32')
    batch = args.batch if training else 1
    return Row(entry.model, entry.scale, 'fast', 'auto', dtype, kind, batch, height, width, args.device,
               args.repeats, args.seconds)  # fmt: skip


def row_of(entry: Entry, answers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """All that is known of a model: our figures, `published` ones, and `reasons` where there are none."""
    row: dict[str, Any] = {
        'name': entry.name,
        'scale': entry.scale,
        'published': published_figures(entry.model, entry.scale),
    }
    row['reasons'] = {}
    for task, found in answers.items():
        if not found or (reason := next(filter(None, map(problem, found)), None)):
            row['reasons'][task] = reason if found else 'interrupted before its turn'
        elif task == 'costs':
            row |= found[0]
        elif task == 'quality':
            row |= {'sets': found[0].pop('sets'), 'evaluation': found[0]}
        else:
            times = timed(found)
            kind = ('training', 'training_memory') if task == 'training' else ('latency', 'memory')
            row |= {kind[0]: times['latency'], kind[1]: times['memory'], f'{task}_spread': times['spread']}
            row[f'{task}_times'] = times['times']
    return row


def add_scores(rows: Sequence[dict[str, Any]]) -> None:
    """Set `score` (see `BASELINE`), whose multiply-adds are those of the timed size."""
    pixels = 1024 * 1024 / (COUNTED[0] * COUNTED[1])
    for row in rows:
        if all(name in row for name in BASELINE):
            values = {name: row[name] * (pixels if name == 'multiply_adds' else 1) for name in BASELINE}
            parts = (WEIGHTS[name] * math.exp(min(2 * value / BASELINE[name], 700)) for name, value in values.items())
            row['score'] = sum(parts)


def failed(rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> bool:
    """Whether a cell says `failed`, or nothing was measured although weights and data were there."""
    words = {tables.short(reason) for row in rows for reason in row['reasons'].values()}
    nothing = all(task in row['reasons'] for row in rows for task in tasks)
    return 'failed' in words or (nothing and not words <= {'no weights', 'no data sets'})


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    if args.work:
        print(json.dumps(work(json.loads(args.work))))
        return
    with in_one_line():
        outcome = league(args)
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        machine = outcome['machine']
        console.print(f'{machine["device"]}, {machine["threads"]} CPU threads, load {machine["load"]} at the end')
        tables.print_tables(outcome, console)
        if args.preset == 'ntire-esr':
            console.print('score: by NTIRE 2025; its times are of another GPU, so compare within this table alone')
        for name, text in (('md', tables.markdown), ('tex', tables.latex), ('csv', tables.as_csv)):
            atomic_write_text(args.out / f'league.{name}', text(outcome))
        write_results(outcome, args.out / 'league.json', args.out / 'league.png', chart.draw)
    if outcome['interrupted']:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    if failed(outcome['rows'], args.tasks):
        sys.exit(1)


if __name__ == '__main__':
    main()
