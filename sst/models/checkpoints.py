"""The files of a training run: weights, training states, and which of them are kept."""

import errno
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from sst.utils.digest import digest
from sst.utils.errors import UserError
from sst.utils.files import atomic_save, atomic_write_text

logger = logging.getLogger('basicsr')
PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)  # may be mended meanwhile
WAIT = 5.0  # seconds between two attempts to write
_LINE = re.compile(r'(\d+)((?:,[0-9a-f]{64}){1,2})')
WEIGHTS = ('params', 'params_ema')  # entries of a weights file


class Checkpoints:
    """Writes the checkpoints of a run, and removes those that it is not to keep. For one process only.

    Args:
        opt: the options of the run, with its folders.
        stop_asked: gives the number of a signal that ends the run, after which nothing waits for a disk; 0 for none.
    """

    def __init__(self, opt: Mapping[str, Any], stop_asked: Callable[[], int]) -> None:
        self.opt, self.stop_asked = opt, stop_asked
        self.keep_last: int | None = opt['logger']['keep_last']
        self.seconds: float = opt['logger']['write_retry']

    @property
    def models(self) -> Path:
        """The folder of the weights."""
        return Path(self.opt['path']['models'])

    @property
    def states(self) -> Path:
        """The folder of the training states."""
        return Path(self.opt['path']['training_states'])

    def write_latest(self, weights: Mapping[str, Any]) -> None:
        """Write `net_g_latest.pth`. Raises `UserError` as all that write here."""
        self._save(weights, self.models / 'net_g_latest.pth')

    def write_best(self, weights: Mapping[str, Any], dataset: str, metric: str) -> None:
        """Write the weights with which a metric of a set was best so far."""
        self._save(weights, best_file(self.models, dataset, metric))

    def write(self, iteration: int, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write weights and state of an iteration unless they are there, and remove the oldest beyond `keep_last`.

        The state is written last: if it exists, its weights do too. It holds the digests of both.
        """
        file = self.states / f'{iteration}.state'
        if not file.exists():
            self._save(weights, self.models / f'net_g_{iteration}.pth')
            digests = {key: digest(weights[key]) for key in WEIGHTS if key in weights}
            self._save({**state, 'digests': digests | {'state': digest(state)}}, file)
        self._prune(iteration)

    def record(self, iteration: int, networks: Mapping[str, nn.Module]) -> None:
        """Add the digests of the weights at an iteration to `digests.csv`, which scripts/verify_run.py compares."""
        line = ','.join([str(iteration), *(digest(net.state_dict()) for net in networks.values())])
        with suppress(OSError), open(digests_file(self.models.parent), 'a', encoding='utf-8') as file:
            file.write(f'{line}\n')  # a full disk costs a line here, and no run

    def _prune(self, newest: int) -> None:
        """Keep the last checkpoints up to this iteration. A state goes before its weights."""
        if self.keep_last is None:
            return
        found = sorted(int(file.stem) for file in self.states.glob('*.state') if file.stem.isdecimal())
        for iteration in [number for number in found if number <= newest][: -self.keep_last]:
            with suppress(OSError):  # a file more than asked for is no reason to stop
                (self.states / f'{iteration}.state').unlink()
                (self.models / f'net_g_{iteration}.pth').unlink(missing_ok=True)

    def _save(self, content: Any, path: Path) -> None:
        """Write a file whole. A full disk, or one that cannot be written just now, is tried again for a while."""
        deadline = time.monotonic() + self.seconds
        told = False
        while True:
            try:
                atomic_save(content, path)
            except UserError as fault:
                left = deadline - time.monotonic()
                if _number(fault) not in PASSING or left <= 0 or self.stop_asked():
                    raise
                if not told:
                    logger.warning(f'{fault}. The run waits for the disk, {self.seconds:,.0f} seconds at most')
                    told = True
                time.sleep(min(WAIT, left))
            else:
                if told:
                    logger.warning(f'{path} is written; the run goes on')
                return


def best_file(folder: Path, dataset: str, metric: str) -> Path:
    """Where the weights lie with which a metric was best."""
    column = re.sub(r'[^\w.-]', '_', metric)  # a column's name may hold anything
    return folder / f'net_g_best_{dataset}_{column}.pth'


def digests_file(folder: Path) -> Path:
    """Where a run lists the digests of its weights: lines of an iteration, and SHA-256 of each entry of `WEIGHTS`."""
    return folder / 'digests.csv'


def read_digests(folder: Path) -> dict[int, list[str]]:
    """Iteration to digests, from `digests.csv` of a run's folder. Lines that a kill cut off are left out."""
    try:
        lines = digests_file(folder).read_text(encoding='ascii', errors='replace').splitlines()
    except FileNotFoundError:
        return {}
    found = (_LINE.fullmatch(line) for line in lines)
    return {int(match[1]): match[2].split(',')[1:] for match in found if match}


def keep_digests(folder: Path, last: int) -> None:
    """Remove the digests beyond an iteration from which a run goes on. Raises `UserError` where it cannot."""
    if digests_file(folder).exists():
        kept = {number: found for number, found in read_digests(folder).items() if number <= last}
        text = ''.join(f'{",".join([str(number), *found])}\n' for number, found in kept.items())
        atomic_write_text(digests_file(folder), text)


def checked(weights: Mapping[str, Any], state: Mapping[str, Any], files: tuple[str, str]) -> None:
    """Compare a checkpoint with the digests in its state. States of older versions have none.

    Args:
        weights, state: what the two files hold.
        files: their names.

    Raises:
        UserError: one of them is not what was written.
    """
    digests = state.get('digests')
    if digests is None:
        return
    rest = {key: value for key, value in state.items() if key != 'digests'}
    try:
        wrong = [files[1]] if digests['state'] != digest(rest) else []
        wrong += [files[0] for key in WEIGHTS if key in digests and digests[key] != digest(weights[key])]
    except (TypeError, KeyError, AttributeError) as fault:
        raise UserError(
            f'{files[1]}: does not hold what a state holds, or its weights lack something: {fault}'
        ) from fault
    if wrong:
        raise UserError(f'{wrong[0]}: is not what the run wrote (its SHA-256 differs from the one in {files[1]})')


def room_needed(opt: Mapping[str, Any], sizes: tuple[int, int], start_iter: int) -> tuple[int, int]:
    """How many checkpoints of a run will lie on the disk, and the bytes of all its weights and states together.

    Args:
        sizes: bytes of a weights file and of a training state.
        start_iter: the last iteration that is trained already.
    """
    total, frequency, keep = (
        opt['train']['total_iter'],
        *(opt['logger'][key] for key in ('save_checkpoint_freq', 'keep_last')),
    )
    count = total // frequency - start_iter // frequency + bool(total % frequency)
    if keep is not None:
        count = min(count, keep + 1)  # the next one is written before the oldest goes
    others = 1  # net_g_latest
    if opt['logger']['keep_best']:
        sets = sum(phase.startswith('val') for phase in opt['datasets'])
        others += sets * len(opt['val']['metrics'] or {})
    return count, count * sum(sizes) + others * sizes[0]


def _number(fault: BaseException) -> int | None:
    """The system's number of the error behind a `UserError`."""
    cause: BaseException | None = fault
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause.errno if isinstance(cause, OSError) else None
