"""Kills training runs and damages files for a while, and looks whether each promise of docs/reliability.md holds.

Everything drawn at random follows from the seed. A failure is told with the seed that repeats it.
"""

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch

from measuring.results import now, positive
from soaking.fuzz import soak_fuzz
from soaking.inputs import all_kinds
from soaking.kills import soak_kills
from soaking.programs import programs
from soaking.settings import make_data
from sst.utils.command_line import CommandLine, number_up_to
from sst.utils.errors import UserError, in_one_line
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        '--minutes',
        type=number_up_to(1_000_000),
        default=30,
        help='time for all of it (%(default)s); kills and files take half each',
    )
    add('--kills', type=positive, default=200, help='kills to stop after (%(default)s)')
    add('--cases', type=positive, default=20_000, help='damaged inputs to stop after (%(default)s)')
    add('--seed', type=int, help='of everything drawn at random (default: a new one, which is printed)')
    add('--json', type=Path, metavar='FILE', help='file for the counts')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every promise held, 1 if not."""
    args = read_arguments(arguments)
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f'seed {seed}', flush=True)
    torch.set_num_threads(1)
    logging.getLogger('tensorboard').setLevel(logging.ERROR)  # it tells of every restart
    begin = time.monotonic()
    end = begin + 60 * args.minutes
    with in_one_line(), tempfile.TemporaryDirectory(prefix='soak_') as name:
        runs, files = Path(name, 'runs'), Path(name, 'files')
        make_data(runs)
        killed = soak_kills(runs, seed, args.kills, begin + 30 * args.minutes, _tell)
        print(f'kills: {dict(sorted(killed.items()))}', flush=True)
        kinds = all_kinds(files) | programs(files)
        fuzzed = soak_fuzz(kinds, files, seed, args.cases, end, _tell)
        print(f'inputs: {dict(sorted(fuzzed.items()))}', flush=True)
        if not killed and not fuzzed:
            raise UserError(f'nothing was tried in --minutes {args.minutes:g}; give more')
        bad = killed['broken'] + fuzzed['failed']
        print(
            f'{"every promise held" if not bad else f"{bad} failures"}; {time.monotonic() - begin:.0f} s, seed {seed}'
        )
        if args.json:
            outcome = {'date': now(), 'seed': seed, 'kills': dict(killed), 'inputs': dict(fuzzed)}
            atomic_write_text(args.json, json_text(outcome, indent=2) + '\n')
    return int(bool(bad))


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == '__main__':
    sys.exit(main())
