"""Trains a part of a run again, from one of its states, and compares the weights with those that the run had.

A run notes SHA-256 sums of its weights in `digests.csv` (`logger.digest_freq`) and in its states. Start this script as
the run was started: on as many processes (torchrun), with the same kind of machine. Nothing is written.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from measuring.results import positive
from sst.driver import launch
from sst.driver.arguments import parse_arguments
from sst.driver.early_log import EarlyLog, forget
from sst.driver.loaders import create_loaders
from sst.driver.prepare import Run, prepare
from sst.driver.record import options_at
from sst.driver.resume import read_state
from sst.models.checkpoints import WEIGHTS, read_digests
from sst.utils.command_line import CommandLine
from sst.utils.digest import digest
from sst.utils.errors import UserError, in_one_line


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('run', type=Path, metavar='RUN', help='folder of the run, as experiments/NAME')
    add('--state', type=positive, metavar='ITERATION', help='where to start (the newest state before a noted sum)')
    add('--iterations', type=positive, help='how many to train (up to the next noted sum)')
    return parser.parse_args(arguments)


def noted_digests(folder: Path) -> dict[int, list[str]]:
    """Iteration to the digests of the weights that a run noted. A state that cannot be read is left out."""
    found = read_digests(folder)
    for path in (folder / 'training_states').glob('*.state'):
        try:
            digests = read_state(path).get('digests', {})
        except UserError:
            continue
        if 'params' in digests:
            found[int(path.stem)] = [digests[key] for key in WEIGHTS if key in digests]
    return found


def plan(folder: Path, noted: Sequence[int], state: int | None, iterations: int | None) -> tuple[int, list[int]]:
    """(the state to start from, the iterations to compare at). Raises `UserError` where there are none."""
    states = sorted(int(path.stem) for path in (folder / 'training_states').glob('*.state') if path.stem.isdecimal())
    if not states:
        raise UserError(f'{folder}: holds no training states; name the folder of a run, as experiments/NAME')
    if state is not None and state not in states:
        raise UserError(f'--state {state}: there are only {", ".join(map(str, states))}')
    for start in [state] if state is not None else reversed(states):
        later = sorted(number for number in noted if number > start)
        if later:
            last = start + iterations if iterations else later[0]
            if within := [number for number in later if number <= last]:
                return start, within
    raise UserError(
        f'{folder}: notes no sums within reach after a state; name an older --state or more --iterations '
        '(runs note them every logger.digest_freq iterations)'
    )


def replay(run: Run, noted: dict[int, list[str]], compared: list[int]) -> list[int]:
    """Train up to the last of `compared`. Return those iterations whose weights differ from the noted ones."""
    model, wrong = run.model, []
    loader, *_ = create_loaders(run, logging.getLogger('basicsr'), lambda taken: None)
    for iteration, batch in enumerate(loader, start=run.start_iter + 1):
        model.update_learning_rate(iteration, run.opt['train']['warmup_iter'])
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        if iteration in compared:
            equal = [digest(net.state_dict()) for net in model.networks().values()] == noted[iteration]
            wrong += [] if equal else [iteration]
            if run.first:
                print(f'iteration {iteration:,}: {"equal to the bit" if equal else "DIFFERENT"}', flush=True)
        if iteration == compared[-1]:
            break
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if all weights are equal, 1 if not."""
    args = read_arguments(arguments)
    with in_one_line(), ExitStack() as held:
        folder = args.run.resolve()
        noted = noted_digests(folder)
        start, compared = plan(folder, list(noted), args.state, args.iterations)
        state = folder / 'training_states' / f'{start}.state'
        changes = [f'path:resume_state={state}', f'name=verify_{folder.name}', 'logger:digest_freq=0']
        parsed = parse_arguments(True, ['-opt', str(options_at(folder, start)), '--force_yml', *changes])
        EarlyLog()  # keeps what a run would log
        held.callback(forget)
        held.callback(launch.leave)
        run = prepare(folder.parents[1], parsed, True, launch.detect(None, os.environ), held)
        before = run.state.get('processes') if run.state else None
        if before not in (None, run.place.world):
            raise UserError(
                f'{state}: was saved by {before} processes; start as many: torchrun --nproc_per_node={before}'
            )
        wrong = replay(run, noted, compared)
    if wrong and run.device.type == 'cuda':
        print('On a GPU, sums may be computed in another order each time, so this need not be a fault.')
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
