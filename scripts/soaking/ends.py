"""What a run has left at its end, compared with what an uninterrupted one has left."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from soaking.settings import ITERATIONS
from sst.driver.resume import newest_state
from sst.models.checkpoints import best_file, read_digests
from sst.utils.files import load_torch

_START = re.compile(r'Start training from epoch: \d+, iter: (\d+)')
_TRAINED = re.compile(r'\[iter: *([\d,]+)/.*?\] \[eta: .*?\] (.*)')
_VALIDATED = re.compile(r'(Validation \S+), iteration ([\d,]+): (.*)')


class BrokenPromiseError(Exception):
    """A run that does not end as the uninterrupted one."""


class Logged(NamedTuple):
    """What a line of a log says of an iteration."""

    iteration: int
    kind: str
    values: str


def compare(run: Path, whole: Path) -> None:
    """Raise `BrokenPromiseError` unless two runs left the same: weights, memory, figures, values, digests, logs."""
    _compare_weights(run, whole)
    mine, other = _last_state(run), _last_state(whole)
    for key in ('iter', 'best_metric_results', 'bad_steps', 'leaps', 'scaler', 'digests'):
        _equal(f'{run.name}: {key} of the last state', mine[key], other[key])
    _equal(f'{run.name}: digests.csv', read_digests(run), read_digests(whole))
    for tag in ('losses/l_pix', 'metrics/val/psnr', 'lr'):
        _equal(f"{run.name}: TensorBoard's {tag}", _scalars(run, tag), _scalars(whole, tag))
    wanted = list(range(1, ITERATIONS + 1))
    _equal(f'{run.name}: iterations in TensorBoard', [step for step, _ in _scalars(run, 'lr')], wanted)
    course = logged(run)
    _equal(f'{run.name}: iterations in the log', [line.iteration for line in course if line.kind == 'trained'], wanted)
    _equal(f'{run.name}: the log', course, logged(whole))
    if left := [path.name for path in run.rglob('.*')]:
        raise BrokenPromiseError(f'{run.name}: half-written files are left: {left}')


def _compare_weights(run: Path, whole: Path) -> None:
    best = {path.name: _iteration(path) for path in sorted((run / 'models').glob('net_g_best_*'))}
    if best:
        figures = _last_state(run)['best_metric_results']
        wanted = {
            best_file(run, name, metric).name: figure['iter']
            for name, metrics in figures.items()
            for metric, figure in metrics.items()
        }
        _equal(f'{run.name}: iterations of the best weights', best, wanted)
    others = sorted((whole / 'models').glob('net_g_best_*'))
    _equal(f'{run.name}: files of the best weights', list(best), [path.name for path in others])
    for file in ('net_g_latest.pth', *best):
        mine, other = load_torch(run / 'models' / file), load_torch(whole / 'models' / file)
        for key in {'params', 'params_ema'} & other.keys():
            for name, value in other[key].items():
                if not torch.equal(mine[key][name], value):
                    raise BrokenPromiseError(f'{run.name}/{file}: {key}.{name} differs')


def logged(run: Path) -> list[Logged]:
    """The course that the logs of a run tell: what each iteration and validation gave, in the order of the log.

    Where the log says that the run goes on from an iteration, what it told of later ones is void.
    """
    course: list[Logged] = []
    for log in sorted(run.glob('train_*.log')):
        for line in log.read_text(encoding='utf-8').splitlines():
            if match := _START.search(line):
                course = [entry for entry in course if entry.iteration <= int(match[1])]
            elif match := _TRAINED.search(line):
                course.append(Logged(_number(match[1]), 'trained', match[2]))
            elif match := _VALIDATED.search(line):
                course.append(Logged(_number(match[2]), match[1], match[3]))
    return course


def _equal(what: str, mine: Any, other: Any) -> None:
    if mine == other:
        return
    if isinstance(mine, list) and isinstance(other, list):  # only where they part
        place = next((i for i, pair in enumerate(zip(mine, other, strict=False)) if pair[0] != pair[1]), None)
        place = min(len(mine), len(other)) if place is None else place
        mine, other = mine[place : place + 3], other[place : place + 3]
    raise BrokenPromiseError(f'{what}: {mine}, not {other}')


def _last_state(run: Path) -> dict[str, Any]:
    state = newest_state(run / 'training_states')
    if state is None:
        raise BrokenPromiseError(f'{run.name}: it has no state')
    return load_torch(state)


def _iteration(weights: Path) -> int:
    return load_torch(weights)['metadata']['iteration']


def _number(text: str) -> int:
    return int(text.replace(',', ''))


def _scalars(run: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / 'tb_logger')).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]
