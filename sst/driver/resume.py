"""Going on with an interrupted run: which state, and what belongs to it."""

import json
import logging
import time
from pathlib import Path
from typing import Any

from sst.driver import launch
from sst.utils.errors import SharedError, UserError
from sst.utils.files import atomic_write_text, load_torch
from sst.utils.json_text import json_text
from sst.utils.visible import tell

logger = logging.getLogger('basicsr')


class AlreadyFinished(Exception):  # noqa: N818 - the run's good end, not an error
    """The run that should go on has trained all its iterations. The text says so."""


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The training state to go on from, tensors on the CPU, or None for a fresh run.

    `--auto_resume` takes the newest whole state of the run; `path.resume_state` names one, or a folder with some. With
    a state, `opt['path']` is set so that the model loads its weights: `pretrain_network_g` with `param_key_g` `params`,
    and `resume_models`, the same file, for the EMA weights in it. `opt['start_iter']` and `opt['resumed_stream']` (the
    state's `stream`) are set too.

    Raises:
        UserError: a state or weights file that is missing or cannot be read, in any process.
        AlreadyFinished: nothing is left to train.
    """
    opt['start_iter'], opt['resumed_stream'] = 0, None
    path, finished = launch.from_first(lambda: _choose(opt))  # rank 0 looks, so that all go the same way
    if finished:
        raise AlreadyFinished(finished)
    if path is None:
        return None
    state = launch.agree(lambda: read_state(Path(path)))
    total = int(opt['train']['total_iter'])
    if state['iter'] > total:
        raise SharedError(
            f'{path} is at iteration {state["iter"]:,}, beyond train.total_iter {total:,}: nothing to train; raise '
            'total_iter, or name an older state: --force_yml path:resume_state=FILE (without --auto_resume)'
        )
    weights = launch.agree(lambda: weights_beside(Path(path), state['iter']))
    opt['path'].update(
        resume_state=path, pretrain_network_g=str(weights), param_key_g='params', resume_models=str(weights)
    )
    opt['start_iter'], opt['resumed_stream'] = state['iter'], state.get('stream')
    return state


def of_this_run(opt: dict[str, Any]) -> bool:
    """Whether the state to go on from lies in the run's own folder."""
    return Path(opt['path']['resume_state']).resolve().parent == Path(opt['path']['training_states']).resolve()


def open_folders(opt: dict[str, Any]) -> None:
    """Make the folders of a resumed run and set aside what it had trained beyond the state it goes on from.

    Later checkpoints would pass for those of the new course: `--auto_resume` takes the newest state.
    """
    root = Path(opt['path']['experiments_root'])
    for key in ('experiments_root', 'models', 'training_states', 'visualization'):
        Path(opt['path'][key]).mkdir(parents=True, exist_ok=True)
    newer = [state for state in _states(Path(opt['path']['training_states'])) if int(state.stem) > opt['start_iter']]
    if not newer:
        return
    aside = root / f'superseded_{time.strftime("%Y%m%d_%H%M%S")}'
    weights = [Path(opt['path']['models'], f'net_g_{state.stem}.pth') for state in newer]
    for file in [*newer, *weights, Path(opt['path']['models'], 'net_g_latest.pth'), _mark(opt)]:
        if file.exists():
            place = aside / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
    tell(f'Going on from iteration {opt["start_iter"]:,}: later checkpoints were moved to {aside}')


def newest_state(folder: Path) -> Path | None:
    """The `<iteration>.state` of the greatest iteration, whole or not."""
    return max(_states(folder), key=lambda file: int(file.stem), default=None)


def _states(folder: Path) -> list[Path]:
    return [file for file in folder.glob('*.state') if file.stem.isdecimal()]


def read_state(path: Path) -> dict[str, Any]:
    """Load a training state. Raises `UserError` where it is none."""
    state = load_torch(path)
    if not isinstance(state, dict) or not isinstance(state.get('iter'), int) or 'optimizers' not in state:
        raise UserError(
            f'{path}: not a training state (no "iter" and "optimizers" in it); give a file of '
            'experiments/<name>/training_states, or weights as --force_yml path:pretrain_network_g=FILE'
        )
    return {'epoch': 0, **state}  # BasicSR's loop wants it


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


def mark_finished(opt: dict[str, Any]) -> None:
    """Note that the run has come to its end, saved and validated."""
    atomic_write_text(_mark(opt), json_text({'iter': int(opt['train']['total_iter'])}) + '\n')


def warn_of_changed_stream(opt: dict[str, Any], logger: logging.Logger) -> None:
    """Say in the log what makes the order of samples differ from the run so far."""
    before, now = opt['resumed_stream'] or {}, opt['stream']
    changed = [f'{key} {before[key]} -> {now[key]}' for key in now if key in before and before[key] != now[key]]
    if changed:
        logger.warning(
            'The order of training samples changes here, because the state was saved with other settings: %s',
            ', '.join(changed),
        )


def _choose(opt: dict[str, Any]) -> tuple[str | None, str | None]:
    """(state to go on from, what to say if nothing is left to train)."""
    named = opt['path'].get('resume_state')
    if not opt['auto_resume']:
        return _in_folder(named), None
    folder = Path(opt['path']['training_states'])
    total, done = int(opt['train']['total_iter']), _finished_iterations(opt)
    if done is not None and done >= total and newest_state(folder) is not None:
        return None, (
            f'{opt["name"]} is finished ({done:,} of {total:,} iterations): nothing to train. '
            f'Its weights: {opt["path"]["models"]}. To train longer raise train.total_iter.'
        )
    if newest := _newest_whole(folder):
        return str(newest), None
    if not named:
        logger.info(f'There is no training state in {folder}: the run starts anew')
    return _in_folder(named), None


def _in_folder(named: str | None) -> str | None:
    """The state to take where a folder is named: a run's, or its `training_states`."""
    if not named or not Path(named).is_dir():
        return named
    inner = Path(named, 'training_states')
    newest = _newest_whole(inner if inner.is_dir() else Path(named))
    if newest is None:
        raise UserError(
            f'path.resume_state: {named} holds no training state; name the folder of a run, its training_states, or a '
            'state: --force_yml path:resume_state=experiments/NAME/training_states/ITERATION.state'
        )
    return str(newest)


def _newest_whole(folder: Path) -> Path | None:
    """The newest state that can be read, its weights too; newer ones that cannot are told. None where there are none.

    Raises:
        UserError: there are states, but none can be read.
    """
    faults = []
    for state in sorted(_states(folder), key=lambda file: int(file.stem), reverse=True):
        try:
            load_torch(weights_beside(state, read_state(state)['iter']))
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


def _finished_iterations(opt: dict[str, Any]) -> int | None:
    try:
        return int(json.loads(_mark(opt).read_text(encoding='utf-8'))['iter'])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mark(opt: dict[str, Any]) -> Path:
    return Path(opt['path']['experiments_root'], 'finished.json')
