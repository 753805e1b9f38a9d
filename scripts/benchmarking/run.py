"""Runs rows, each in a process of its own, in rounds: other work on the machine then meets all of them alike."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarking.costs import Ceilings
from benchmarking.measure import measure
from benchmarking.rows import Row, known, obstacle
from measuring import processes
from measuring.machine import describe, measure_ceilings
from sst.utils.errors import UserError

COMMAND = Path(__file__).resolve().parents[1] / 'benchmark.py'

Result = dict[str, Any]


def work(task: dict[str, Any]) -> Result:
    """What a worker process does: measure the machine or one row."""
    if 'machine' in task:
        device = torch.device(task['machine'])
        return {'machine': describe(device), 'ceilings': asdict(measure_ceilings(device))}
    try:
        return measure(Row(**task['row']))
    except torch.OutOfMemoryError:
        return {'refused': 'out of memory'}


def in_process(task: dict[str, Any]) -> Result:
    """`work` in a fresh process."""
    return processes.in_process(COMMAND, task)


def run(rows: Sequence[Row], device: str, rounds: int) -> dict[str, Any]:
    """Measure the machine, then all rows `rounds` times in turn. Ctrl-C ends it with what is there.

    Returns:
        dict: `machine`, `ceilings`, `rounds`, `interrupted` and `rows`, one mapping each: the fields of `Row`, what
            `known` says, and either `refused` or `failed` with the reason, or what `measure` says with `latency` in
            seconds (the median of the processes' medians), `spread` (half the distance of the quartiles of all
            repetitions, as a part of it) and, where the published style was measured too, `speed` (`add_speeds`).

    Raises:
        UserError: the machine could not be measured, or a network's options are faulty.
    """
    refused = {row: obstacle(row) for row in rows}
    able = [row for row in rows if not refused[row]]
    found = in_process({'machine': device})
    if reason := found.get('failed'):
        raise UserError(f'the {device} device cannot be measured: {reason}')
    answers: dict[Row, list[Result]] = {row: [] for row in rows}
    interrupted = False
    try:
        with tqdm(total=rounds * len(able), unit='row', disable=None) as bar:
            for row in rounds * able:
                bar.set_postfix_str(row.name)
                if all('times' in answer for answer in answers[row]):  # what failed once is not tried again
                    answers[row].append(in_process({'row': asdict(row)}))
                bar.update()
    except KeyboardInterrupt:
        interrupted = True
    ceilings = Ceilings(**found['ceilings'])
    results = []
    for row in rows:
        reason = {'refused': refused[row]} if refused[row] else {}
        results.append(asdict(row) | known(row, ceilings) | (reason or combined(answers[row])))
    add_speeds(results)
    return found | {'rounds': rounds, 'interrupted': interrupted, 'rows': results}


def combined(answers: Sequence[Result]) -> Result:
    """One result out of those of several processes."""
    if bad := [answer for answer in answers if 'times' not in answer]:
        return bad[0]
    if not answers:
        return {'refused': 'interrupted before its turn'}
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
            pairs = zip(baseline, result['times'], strict=False)  # an interrupted round is not whole
            result['speed'] = median(median(theirs) / median(ours) for theirs, ours in pairs)
