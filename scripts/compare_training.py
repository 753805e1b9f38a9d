"""Trains the same run in several ways, from the same weights and samples, and compares the curves of their losses.

The reference is the paper's equations in float32. It is trained a second time from weights that differ by the smallest
possible step. The distance between these two curves is the effect of rounding, so no way can be expected to be closer.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch
from tqdm import tqdm

from benchmarking.measure import SHARPER  # after the repository is on the path
from comparing import report
from comparing.curves import judge
from comparing.train import read_run, train, write_start
from comparing.ways import NAMES, NUDGED, REFERENCE, choose
from measuring.results import make_folders, origin, words, write_results
from sst.utils.command_line import CommandLine, add_force_yml_argument
from sst.utils.errors import UserError, in_one_line


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('-opt', default='options/demo.yml', metavar='FILE', help='option file to train with (%(default)s)')
    add_force_yml_argument(parser)
    add(
        '--iterations',
        type=int,
        default=200,
        help='number of iterations of each way, from the start of the run (%(default)s)',
    )
    add(
        '--sharpen',
        action='store_true',
        help=f'start with the weights of attention times {SHARPER}, so that faults become visible',
    )
    add('--ways', type=words, help=f'any of {",".join(NAMES)}, separated by commas (all that work here except compile)')
    add('--json', type=Path, default=Path('results/training_curves.json'), help='file for all results (%(default)s)')
    add('--chart', type=Path, help='file for a chart of the curves (.png, .svg, .pdf)')
    add('--read', type=Path, metavar='JSON', help='judge and draw the results of an earlier call without training')
    return parser.parse_args(arguments)


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Train in all ways.

    Returns:
        dict: `date`, `machine`, the arguments, `refused` (way to reason) and `curves`: a mapping per way with `name`,
            `meaning`, its changes `network` and `train`, and `losses`.

    Raises:
        UserError: faulty arguments or options, missing data, or a run that ends badly.
    """
    if args.iterations < 1:
        raise UserError(f'--iterations {args.iterations}: must be at least 1')
    opt = read_run(args.opt, args.force_yml, args.iterations)
    device = torch.device('cpu' if opt['num_gpu'] == 0 or not torch.cuda.is_available() else 'cuda')
    fast, refused = choose(args.ways, opt, device)
    start = origin(device)
    ways, curves = (REFERENCE, NUDGED, *fast), []
    with (
        tempfile.TemporaryDirectory(prefix='compare_training_') as folder,
        tqdm(total=len(ways) * args.iterations, unit='it', disable=None) as bar,
    ):
        write_start(opt, Path(folder), args.sharpen)
        for way in ways:
            bar.set_description(way.name)
            losses = train(way, opt, Path(folder), bar.update)
            changes = {'network': way.network, 'train': way.train}
            curves.append({'name': way.name, 'meaning': way.meaning, **changes, 'losses': losses})
    return {
        **start,
        'iterations': args.iterations,
        'options': args.opt,
        'force_yml': args.force_yml,
        'sharpen': args.sharpen,
        'refused': refused,
        'curves': curves,
    }


def read(path: Path) -> dict[str, Any]:
    """What `compare` gave, out of a file. Raises `UserError` where it is none."""
    try:
        outcome = json.loads(path.read_text(encoding='utf-8'))
        if not all(curve['name'] and curve['losses'] for curve in outcome['curves']):
            raise ValueError('a curve is empty')
        for curve in outcome['curves']:
            curve['losses'] = [float(loss) for loss in curve['losses']]  # json_text writes "nan"
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(
            f'--read {path}: not a result of this script ({fault}); use a file that --json wrote'
        ) from fault
    return outcome


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    with in_one_line():
        make_folders(args.json, args.chart)
        outcome = read(args.read) if args.read else compare(args)
        judge(outcome['curves'])
        report.print_table(outcome)
        write_results(outcome, args.json, args.chart, report.draw)
    if any(curve['wrong'] for curve in outcome['curves']):
        sys.exit(1)


if __name__ == '__main__':
    main()
