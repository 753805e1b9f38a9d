"""Resuming an interrupted run: which state is taken, and what belongs to it."""

import functools
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sst.driver import launch
from sst.models.checkpoints import checked, keep_digests
from sst.options import Options
from sst.utils.errors import SharedError, UserError
from sst.utils.files import atomic_write_text, load_torch
from sst.utils.json_text import json_text
from sst.utils.visible import tell

logger = logging.getLogger('basicsr')
Reader = Callable[[Path], dict[str, Any]]  # `read_whole_state`, which reads each file once

KINDS: dict[str, tuple[type, ...]] = {  # of what the driver reads in a state
    'stream': (dict, type(None)),
    'validation_due': (list,),
    'processes': (int,),
    'leaps': (dict,),
    'digests': (dict,),
}


class AlreadyFinished(Exception):  # noqa: N818 - the run's good end, not an error
    """The run that should be resumed has trained all its iterations. The text says so."""


def load_resume_state(options: Options, folder: Path, auto: bool) -> dict[str, Any] | None:
    """The training state to go on from, tensors on the CPU, or None for a fresh run.

    Args:
        folder: the run's own.
        auto: whether to take the newest whole state of the run; else `path.resume_state` names one, or a folder with
            some.

    Returns:
        dict: what `SSTModel` saved, with its file's name as `path`, the weights saved with it as `weights` (what their
            file holds), and that file's name as `weights_path`.

    Raises:
        UserError: a state or weights file that is missing or cannot be read, in any process.
        AlreadyFinished: nothing is left to train.
    """
    read = functools.cache(read_whole_state)
    path, finished = launch.from_first(lambda: _choose(options, folder, auto, read))  # so that all go the same way
    if finished:
        raise AlreadyFinished(finished)
    if path is None:
        return None
    state = launch.agree(lambda: read(path))
    total = _total(options)
    if state['iter'] > total:
        raise SharedError(
            f'{path} is at iteration {state["iter"]:,}, beyond train.total_iter {total:,}: nothing to train; raise '
            'total_iter, or name an older state: --force_yml path:resume_state=FILE (without --auto_resume)'
        )
    return state


def of_this_run(state: dict[str, Any], folder: Path) -> bool:
    """Whether the state to resume is in the run's own folder."""
    return Path(state['path']).resolve().parent == (folder / 'training_states').resolve()


def open_folders(folder: Path, start_iter: int) -> None:
    """Make the folders of a resumed run, and move aside what it had trained beyond the resumed state.

    Later checkpoints would pass for those of the new course: `--auto_resume` takes the newest state.
    """
    for name in ('models', 'training_states', 'visualization'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    keep_digests(folder, start_iter)
    newer = [state for state in _states(folder / 'training_states') if int(state.stem) > start_iter]
    if not newer:
        return
    superseded = folder / f'superseded_{time.strftime("%Y%m%d_%H%M%S")}'
    weights = [folder / 'models' / f'net_g_{state.stem}.pth' for state in newer]
    best = [file for file in (folder / 'models').glob('net_g_best_*.pth') if _iteration(file) > start_iter]
    for file in [*newer, *weights, *best, folder / 'models/net_g_latest.pth', _mark(folder)]:
        if file.exists():
            place = superseded / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
    tell(f'Going on from iteration {start_iter:,}: later checkpoints were moved to {superseded}')


def _iteration(weights: Path) -> int:
    """The iteration of a weights file; of a damaged one a large number."""
    try:
        return int(load_torch(weights)['metadata']['iteration'])
    except (UserError, KeyError, TypeError, ValueError):
        return sys.maxsize


def newest_state(folder: Path) -> Path | None:
    """The `<iteration>.state` of the greatest iteration, whole or not."""
    return max(_states(folder), key=lambda file: int(file.stem), default=None)


def _states(folder: Path) -> list[Path]:
    return [file for file in folder.glob('*.state') if file.stem.isdecimal()]


def read_whole_state(path: Path) -> dict[str, Any]:
    """A training state with its weights, as `load_resume_state` gives it."""
    state = read_state(path)
    file = weights_beside(path, state['iter'])
    weights = load_torch(file)
    checked(weights, state, (str(file), str(path)))
    return {
        'epoch': 0,
        **state,
        'path': str(path),
        'weights': weights,
        'weights_path': str(file),
    }  # BasicSR's loop wants


def read_state(path: Path) -> dict[str, Any]:
    """Load a training state. Raises `UserError` for any other file."""
    state = load_torch(path)
    if not isinstance(state, dict) or type(state.get('iter')) is not int or 'optimizers' not in state:
        raise UserError(
            f'{path}: not a training state (no "iter" and "optimizers" in it); give a file of '
            'experiments/<name>/training_states, or weights as --force_yml path:pretrain_network_g=FILE'
        )
    if wrong := [key for key, kinds in KINDS.items() if key in state and not isinstance(state[key], kinds)]:
        raise UserError(f'{path}: does not hold what a training state holds, but another "{wrong[0]}"; take another')
    return state


def weights_beside(state: Path, iteration: int) -> Path:
    """The weights saved with a state: `models/net_g_<iteration>.pth` of the same run, or beside the state itself."""
    name = f'net_g_{iteration}.pth'
    places = [state.parent.parent / 'models' / name, state.parent / name]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        f'{state} needs the weights saved with it: {places[0]} is missing; bring it back, or go on from an '
        'older state: --force_yml path:resume_state=FILE (without --auto_resume)'
    )


def mark_finished(options: Options, folder: Path) -> None:
    """Note that the run has ended, and was saved and validated."""
    atomic_write_text(_mark(folder), json_text({'iter': _total(options)}) + '\n')


def warn_of_changed_stream(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Log what makes the order of samples differ from the run so far. Does nothing before a new run."""
    before = before or {}
    changed = [f'{key} {before[key]} -> {now[key]}' for key in now if key in before and before[key] != now[key]]
    if changed:
        logger.warning(
            'The order of training samples changes here, because the state was saved with other settings: %s',
            ', '.join(changed),
        )


def tell_of_other_processes(state: dict[str, Any], now: int) -> None:
    """Log what cannot be exact if a state was saved by another number of processes."""
    before = state.get('processes', now)
    if before != now:
        logger.warning(
            f'The state was saved by {before} process(es), and now there are {now}. Each iteration has the same '
            'samples as before, but sums are rounded in another order: the weights will differ in their last bits'
        )


def _choose(options: Options, folder: Path, auto: bool, read: Reader) -> tuple[Path | None, str | None]:
    """(state to go on from, what to say if nothing is left to train)."""
    named = options.path.resume_state
    if not auto:
        return _state_named(named, read), None
    total, done = _total(options), _finished_iterations(folder)
    if done is not None and done >= total and newest_state(folder / 'training_states') is not None:
        return None, (
            f'{options.name} is finished ({done:,} of {total:,} iterations): nothing to train. '
            f'Its weights: {folder / "models"}. To train longer raise train.total_iter.'
        )
    if newest := newest_whole(folder / 'training_states', read):
        return newest, None
    if not named:
        logger.info(f'There is no training state in {folder / "training_states"}: the run starts anew')
    return _state_named(named, read), None


def _state_named(named: str | None, read: Reader) -> Path | None:
    """The state to take where a file or a folder is named: a run's, or its `training_states`."""
    if named is None:
        return None
    if not Path(named).is_dir():
        return Path(named)
    inner = Path(named, 'training_states')
    newest = newest_whole(inner if inner.is_dir() else Path(named), read)
    if newest is None:
        raise UserError(
            f'path.resume_state: {named} holds no training state; name the folder of a run, its training_states, or a '
            'state: --force_yml path:resume_state=experiments/NAME/training_states/ITERATION.state'
        )
    return newest


def newest_whole(folder: Path, read: Reader = read_whole_state) -> Path | None:
    """The newest state that can be read with its weights, or None. The log names newer ones that are damaged.

    Raises:
        UserError: there are states, but none can be read.
    """
    faults = []
    for state in sorted(_states(folder), key=lambda file: int(file.stem), reverse=True):
        try:
            read(state)
        except UserError as fault:
            faults.append(str(fault))
            continue
        for fault_text in faults:
            logger.warning(f'A newer state cannot be used: {fault_text}. The run goes on from {state}')
        return state
    if faults:
        raise UserError(
            f'{faults[0]}; no other state in {folder} is whole; to start anew leave out --auto_resume and '
            'path.resume_state'
        )
    return None


def _finished_iterations(folder: Path) -> int | None:
    try:
        return int(json.loads(_mark(folder).read_text(encoding='utf-8'))['iter'])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mark(folder: Path) -> Path:
    return folder / 'finished.json'


def _total(options: Options) -> int:
    assert options.train is not None
    return options.train.total_iter
