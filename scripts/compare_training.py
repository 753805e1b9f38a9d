"""Trains the same run in several ways, from the same weights and samples, and compares the curves of their losses.

The reference is the paper's equations in float32. It is trained a second time from weights that were nudged by the
smallest step there is: how far that curve leaves it is what rounding alone does, and no way can be asked to do better.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch: threads that spin cost much where cores are shared
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch
from tqdm import tqdm

from benchmarking.machine import describe  # after the repository is on the path
from benchmarking.measure import SHARPER
from comparing import report
from comparing.curves import judge
from comparing.train import read_run, train, write_start
from comparing.ways import NAMES, NUDGED, REFERENCE, choose
from sst.utils.errors import UserError, in_one_line
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('-opt', default='options/demo.yml', metavar='FILE', help='option file to train with (%(default)s)')
    add('--force_yml', nargs='+', action='extend', default=[], metavar='KEY:KEY=VALUE', help='change options')
    add('--iterations', type=int, default=200, help='of each way, the first of the run (%(default)s)')
    add('--sharpen', action='store_true', help=f'begin with weights of attention times {SHARPER}, so that faults show')
    add('--ways', help=f'of {",".join(NAMES)}, with commas between (all that serve here, but compile)')
    add('--json', type=Path, default=Path('results/training_curves.json'), help='everything (%(default)s)')
    add('--chart', type=Path, help='the curves as a picture (.png, .svg, .pdf)')
    add('--read', type=Path, metavar='JSON', help='judge and draw what an earlier call wrote, and train nothing')
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
        raise UserError(f'--iterations {args.iterations}: allowed is 1 or more')
    opt = read_run(args.opt, args.force_yml, args.iterations)
    device = torch.device('cpu' if opt['num_gpu'] == 0 or not torch.cuda.is_available() else 'cuda')
    names = None if args.ways is None else [name.strip() for name in args.ways.split(',') if name.strip()]
    fast, refused = choose(names, opt, device)
    date, machine = datetime.now().astimezone().isoformat(timespec='seconds'), describe(device)
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
        'date': date,
        'machine': machine,
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
        raise UserError(f'--read {path}: no results of this script ({fault}); give a file that --json named') from fault
    return outcome


def write(outcome: dict[str, Any], path: Path, chart: Path | None) -> None:
    """Write the files that were asked for. A chart that cannot be drawn is said and left out."""
    atomic_write_text(path, json_text(outcome, indent=1) + '\n')
    written = [path]
    if chart:
        try:
            report.write_chart(outcome, chart)
            written.append(chart)
        except UserError as reason:
            print(reason)
    print('Written:', *written)


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    with in_one_line():
        for path in filter(None, (args.json, args.chart)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as fault:
                raise UserError(f'{path.parent}: cannot be made ({fault.strerror}); name another file') from fault
        outcome = read(args.read) if args.read else compare(args)
        judge(outcome['curves'])
        report.print_table(outcome)
        write(outcome, args.json, args.chart)
    if any(curve['wrong'] for curve in outcome['curves']):
        sys.exit(1)


if __name__ == '__main__':
    main()
