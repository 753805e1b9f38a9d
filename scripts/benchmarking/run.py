"""Runs rows, each in a process of its own, in rounds: other work on the machine then meets all of them alike."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from benchmarking.costs import Ceilings
from benchmarking.measure import export, measure
from benchmarking.passes import Point, measure_passes
from benchmarking.rows import Row, known, obstacle
from measuring import processes
from measuring.machine import describe, measure_ceilings
from sst.utils.errors import UserError
from standings.entries import Entry

COMMAND = Path(__file__).resolve().parents[1] / 'benchmark.py'

Result = dict[str, Any]


class Named(Protocol):
    @property
    def name(self) -> str: ...


Key = TypeVar('Key', bound=Named)


def work(task: dict[str, Any]) -> Result:
    """What a worker process does, with `threads` if they are given: measure the machine, a row or a point, or write a
    row's ONNX model."""
    if threads := task.get('threads'):
        torch.set_num_threads(threads)
    if 'machine' in task:
        device = torch.device(task['machine'])
        return {'machine': describe(device), 'ceilings': asdict(measure_ceilings(device))}
    if task.get('export'):
        export(Row(**task['row']), task['model'])
        return {}
    try:
        if 'point' in task:
            return measure_passes(Point(**task['point']))
        return measure(Row(**task['row']), task.get('model', ''))
    except torch.OutOfMemoryError:
        return {'refused': 'out of memory'}


def in_process(task: dict[str, Any]) -> Result:
    """`work` in a fresh process, for at most `limit` seconds if the task says so."""
    return processes.in_process(COMMAND, task, task.get('limit', processes.LIMIT))


def run(rows: Sequence[Row], device: str, rounds: int, threads: int | None = None) -> dict[str, Any]:
    """Measure the machine, then all rows `rounds` times in turn. Ctrl-C ends it with what is there.

    Args:
        rows (Sequence[Row]): the rows.
        device (str): of all of them.
        rounds (int): how often.
        threads (int | None): of the CPU; None: as torch chooses.

    Returns:
        dict: `machine`, `ceilings`, `rounds`, `interrupted` and `rows`, one mapping each: the fields of `Row`, what
            `known` says, and either `refused` or `failed` with the reason, or what `measure` says with `latency` in
            seconds (the median of the processes' medians), `spread` (half the distance of the quartiles of all
            repetitions, as a part of it) and, where the published style was measured too, `speed` (`add_speeds`);
            `against` and `ratio` are of `add_ratios`.

    Raises:
        UserError: the machine could not be measured, or a network's options are faulty.
    """
    refused = {row: obstacle(row) for row in rows}
    able = [row for row in rows if not refused[row]]
    found = measure_machine(device, threads)
    tasks: dict[Row, dict[str, Any]] = {row: {'row': asdict(row), 'threads': threads} for row in able}
    with TemporaryDirectory(prefix='benchmark_') as folder:
        for number, row in enumerate(able):
            if row.mode == 'onnx':
                tasks[row]['model'] = str(Path(folder, f'{number}.onnx'))
        answers, interrupted = in_rounds(tasks, rounds)
    ceilings = Ceilings(**found['ceilings'])
    results = []
    for row in rows:
        reason = {'refused': refused[row]} if refused[row] else {}
        facts = {} if reason and row.entry.is_rival else known(row, ceilings)  # it cannot be built
        results.append(asdict(row) | facts | (reason or combined(answers[row])))
    add_speeds(results)
    add_ratios(results)
    return found | {'rounds': rounds, 'interrupted': interrupted, 'rows': results}


def measure_machine(device: str, threads: int | None) -> dict[str, Any]:
    """`machine` and `ceilings`. Raises UserError where that fails."""
    found = in_process({'machine': device, 'threads': threads})
    if reason := found.get('failed'):
        raise UserError(f'the {device} device cannot be measured: {reason}')
    return found


def in_rounds(tasks: Mapping[Key, dict[str, Any]], rounds: int) -> tuple[dict[Key, list[Result]], bool]:
    """The answers to each row's task, and whether Ctrl-C ended the rounds. ONNX models are written first."""
    answers: dict[Key, list[Result]] = {row: [] for row in tasks}
    exports = [(row, task | {'export': True}) for row, task in tasks.items() if 'model' in task]
    try:
        with tqdm(total=len(exports) + rounds * len(tasks), unit='row', disable=None) as bar:
            for row, task in [*exports, *rounds * list(tasks.items())]:
                bar.set_postfix_str(row.name)
                if all('times' in answer for answer in answers[row]):  # what failed once is not tried again
                    answer = in_process(task)
                    if problem(answer) or 'export' not in task:
                        answers[row].append(answer)
                bar.update()
    except KeyboardInterrupt:
        return answers, True
    return answers, False


def problem(answer: Result) -> str | None:
    """Why there are no figures."""
    return answer.get('refused') or answer.get('failed')


def combined(answers: Sequence[Result]) -> Result:
    """One result out of those of several processes."""
    if bad := [answer for answer in answers if 'times' not in answer]:
        return bad[0]
    if not answers:
        return {'refused': 'interrupted before its turn'}
    if 'error' not in answers[0]:  # a rival
        return timed(answers)
    return {
        **timed(answers),
        'error': max(answer['error'] for answer in answers),
        'wrong': any(answer['wrong'] for answer in answers),
        'attention': answers[0]['attention'],
    }


def timed(answers: Sequence[Result]) -> Result:
    """Latency, spread and memory out of those of several processes."""
    times = [answer['times'] for answer in answers]
    latency = median(median(part) for part in times)
    low, high = np.percentile([time for part in times for time in part], (25, 75)).tolist()
    return {
        'latency': latency,
        'spread': (high - low) / 2 / latency,
        'memory': median(answer['memory'] for answer in answers),
        'times': times,
    }


def add_speeds(results: Sequence[Result]) -> None:
    """Set `speed`: how often a row runs in the time of the published style, the median over the rounds."""
    same = ('model', 'scale', 'task')
    baselines = {
        tuple(result[key] for key in same): result['times']
        for result in results
        if result['mode'] == 'published' and 'times' in result
    }
    for result in results:
        baseline = baselines.get(tuple(result[key] for key in same))
        if baseline and 'times' in result:
            result['speed'] = times_over(baseline, result['times'])


def add_ratios(results: Sequence[Result]) -> None:
    """Set `against` and `ratio`.

    `against` is the SST that a row is compared with: the model itself or, for a rival, the SST that was named before
    it (for a rival before any SST itself). `ratio` is the row's time over that of this SST at the same input, in its
    first row of mode `fast`: the median over the rounds.
    """
    same = ('against', 'scale', 'task', 'batch', 'height', 'width')
    ours = None
    baselines: dict[tuple, list] = {}
    for result in results:
        rival = Entry(result['model'], result['scale']).is_rival
        ours = ours if rival else result['model']
        result['against'] = ours or result['model']
        if not rival and result['mode'] == 'fast' and 'times' in result:
            baselines.setdefault(tuple(result[key] for key in same), result['times'])
    for result in results:
        baseline = baselines.get(tuple(result[key] for key in same))
        if baseline and 'times' in result:
            result['ratio'] = times_over(result['times'], baseline)


def times_over(these: Sequence[Sequence[float]], those: Sequence[Sequence[float]]) -> float:
    """How many times as long one row takes as another, the median over the rounds."""
    pairs = zip(these, those, strict=False)  # an interrupted round is not whole
    return median(median(one) / median(other) for one, other in pairs)
