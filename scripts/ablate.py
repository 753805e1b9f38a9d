"""Trains the rows of the paper's ablation tables and prints them in the paper's layout, published figures beside.

Tables: bias (Table 4), gate, windows, bands (Table 5), rank, hidden (beyond the paper), or 4, 5, beyond, all.

--budget demo   trains small networks on the demo's photographs, minutes on a CPU. It goes on where it stopped.
--budget paper  prints a command for each run of the published settings, and tables what has been trained already.

A run whose loss is not finite any more is a result: "not converged".
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from rich.console import Console
from tqdm import tqdm

from ablating.budgets import DEMO_ITERATIONS, demo_options, demo_test_options, run_name
from ablating.running import DEVICE, Outcome, add_inference, require_demo_data, tested, train_and_test
from ablating.tables import Results, draw, table_of
from ablating.variants import OPTIONS, Variant, chosen, variants
from measuring.results import make_folders, now, positive, write_results
from reporting.grid import Grid
from reporting.runs import Training
from sst.driver.record import git_commit
from sst.utils.command_line import CommandLine
from sst.utils.errors import in_one_line
from sst.utils.files import atomic_write_text

WIDTH = 160  # letters of a line that no terminal limits


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('tables', nargs='+', metavar='TABLE', help='see above')
    add('--budget', choices=('demo', 'paper'), default='demo', help='see above (%(default)s)')
    add('--seeds', type=positive, default=1, help='runs of each row, with seeds 0, 1, ... (%(default)s)')
    add('--iterations', type=positive, help=f'of a demo run ({DEMO_ITERATIONS})')
    add('--gpus', type=positive, default=4, help='in the commands of --budget paper (%(default)s)')
    add('--root', type=Path, default=Path.cwd(), help='where datasets/ and experiments/ lie (the current folder)')
    add('--out', type=Path, default=Path('results/ablations'), help='folder for the files (%(default)s)')
    return parser.parse_args(arguments)


def demo_runs(rows: Sequence[Variant], args: argparse.Namespace) -> Iterable[tuple[str, int, Outcome]]:
    """Train and test each row with each seed, in turn."""
    root = args.root.resolve()
    require_demo_data(root)
    folder = (args.out / 'demo').resolve()
    test = folder / 'test.yml'
    atomic_write_text(test, demo_test_options(folder))
    work = [(variant, seed) for seed in range(args.seeds) for variant in rows]
    with tqdm(work, unit='run', disable=None) as bar:
        for variant, seed in bar:
            bar.set_postfix_str(f'{variant.label}, seed {seed}')
            text = demo_options(variant, seed, args.iterations or DEMO_ITERATIONS, folder)
            name = run_name(variant, seed, demo=True)
            yield variant.file, seed, train_and_test(folder / f'{name}.yml', text, test, name, root)


def paper_runs(rows: Sequence[Variant], args: argparse.Namespace) -> Iterable[tuple[str, int, Outcome]]:
    """Print the command of each run, and test the weights of those that have ended."""
    root = args.root.resolve()
    for seed in range(args.seeds):
        for variant in rows:
            training = Training(root / 'experiments' / run_name(variant, seed, demo=False))
            if training.weights.is_file():
                outcome = tested(training, OPTIONS / 'test_any.yml', root)
                outcome.seconds, outcome.memory = training.median('time'), training.median('memory')
                if DEVICE == 'cuda':  # on a CPU the published networks would take minutes
                    add_inference(outcome, variant.path, DEVICE)
                yield variant.file, seed, outcome
                continue
            print(command_of(variant, seed, args.gpus))
            where = f'at iteration {training.iteration:,}' if training.iteration else 'not trained'
            yield variant.file, seed, Outcome(training.name, where)


def command_of(variant: Variant, seed: int, gpus: int) -> str:
    """What trains a row with the published settings."""
    changes = [f'name={run_name(variant, seed, demo=False)}', f'manual_seed={seed}'] if seed else []
    words = ['torchrun', f'--nproc_per_node={gpus}', 'sst/train.py', '-opt', f'options/{variant.file}', '--auto_resume']
    return shlex.join([*words, *(['--force_yml', *changes] if changes else [])])


def ablate(args: argparse.Namespace) -> tuple[list[Grid], dict[str, Any], bool]:
    """The tables, what is written as JSON, and whether Ctrl-C ended the work."""
    names = chosen(args.tables)
    rows = list({variant.file: variant for name in names for variant in variants(name)}.values())
    make_folders(args.out / args.budget / 'ablations.json')
    results: Results = {}
    interrupted = False
    try:
        for file, seed, outcome in (demo_runs if args.budget == 'demo' else paper_runs)(rows, args):
            results[file, seed] = outcome
    except KeyboardInterrupt:
        interrupted = True
    grids = [table_of(name, results, args.budget, args.iterations or DEMO_ITERATIONS) for name in names]
    data = next((s for o in results.values() for s in o.sets), '')
    psnr = {
        name: {
            variant.label: [o.sets[data]['psnr'] for (f, _), o in results.items() if f == variant.file and o.sets]
            for variant in variants(name)
        }
        for name in names
    }
    outcomes = [{'file': file, 'seed': seed} | vars(outcome) for (file, seed), outcome in results.items()]
    setting = {'date': now(), 'commit': git_commit(), 'budget': args.budget, 'iterations': args.iterations}
    return grids, {**setting, 'set': data, 'psnr': psnr, 'runs': outcomes}, interrupted


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    with in_one_line():
        grids, outcome, interrupted = ablate(args)
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        for grid in grids:
            grid.show(console)
        stem = args.out / args.budget / 'ablations'
        for ending, texts in (
            ('md', [grid.markdown() for grid in grids]),
            ('tex', [grid.latex() for grid in grids]),
            ('csv', [f'{grid.title}\n{grid.csv()}' for grid in grids]),
        ):
            atomic_write_text(stem.with_suffix(f'.{ending}'), '\n'.join(texts))
        write_results(outcome, stem.with_suffix('.json'), stem.with_suffix('.png'), draw)
    if interrupted:
        print('interrupted; repeat the command to go on', file=sys.stderr)
        sys.exit(130)
    ended = ('finished', 'diverged')
    failed = [run['name'] for run in outcome['runs'] if args.budget == 'demo' and run['end'] not in ended]
    if failed:
        print(f'error: {len(failed)} runs failed: {", ".join(failed)}', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
