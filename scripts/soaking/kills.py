"""Kills runs at random moments and compares how they end with a run that nobody interrupts."""

import io
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

import sst.models.evaluation as evaluation
from soaking.children import fork, kill, wait
from soaking.ends import BrokenPromiseError, compare
from soaking.settings import draw, said
from sst.basicsr_compat import replaced
from sst.driver import record
from sst.driver.run import run_training

MOMENTS = ('time', 'time', 'sync', 'rename', 'half a file', 'validation')
MOST_CALLS = {'sync': 20, 'rename': 10, 'half a file': 8, 'validation': 8}  # before the one that is killed
LONGEST = 120.0  # seconds of a tiny run


def soak_kills(root: Path, seed: int, kills: int, until: float, tell: Callable[[str], None]) -> Counter[str]:
    """Draw runs one after the other, and kill each of them several times.

    Args:
        root: a folder with `data`, as `make_data` writes it.
        kills: to stop after.
        until: the time (`time.monotonic`) to stop at.

    Returns:
        Counter: kills by their moments, `runs`, and `broken` promises, which `tell` has told.
    """
    counts: Counter[str] = Counter()
    packages = record.environment()  # half of a start is the list of packages: here once, for all children
    with replaced(record, environment=lambda: packages):
        while sum(counts[moment] for moment in set(MOMENTS)) < kills and time.monotonic() < until:
            number = seed + counts['runs']
            rng = random.Random(number)
            options, processes = draw(rng, f'run_{number}')
            try:
                counts += _one_run(root, rng, options, processes)
            except BrokenPromiseError as broken:
                counts['broken'] += 1
                tell(f'BROKEN with --seed {number}: {broken}\n  {said(options, processes)}')
            counts['runs'] += 1
    return counts


def _one_run(root: Path, rng: random.Random, options: dict[str, Any], processes: int) -> Counter[str]:
    name = options['name']
    file, log = root / f'{name}.yml', root / f'{name}.log'
    file.write_text(yaml.safe_dump(options))
    whole = ['-opt', str(file), '--force_yml', f'name={name}_whole']
    begin = time.monotonic()
    _require_good(_run(root, whole, processes, log), log)
    seconds = time.monotonic() - begin
    counts: Counter[str] = Counter()
    resumed = ['-opt', str(file), '--auto_resume']
    for _ in range(rng.randint(3, 6)):
        moment = rng.choice(MOMENTS)
        if _killed(root, resumed, processes, log, rng, moment, seconds):
            counts[moment] += 1
        elif (root / 'experiments' / name / 'finished.json').exists():
            break
    _require_good(_run(root, resumed, processes, log), log)
    compare(root / 'experiments' / name, root / 'experiments' / f'{name}_whole')
    return counts


def _run(root: Path, arguments: list[str], processes: int, log: Path) -> list[int | None]:
    return wait(_start(root, arguments, processes, log), LONGEST)


def _start(
    root: Path, arguments: list[str], processes: int, log: Path, prepare: Callable[[], None] = lambda: None
) -> list[int]:
    """Start all processes of a run; `prepare` is called in the first."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]

    def work(rank: int) -> int:
        if processes > 1:
            place = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': processes, 'LOCAL_WORLD_SIZE': processes}
            meeting = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
            os.environ |= {key: str(value) for key, value in (place | meeting).items()}
        if rank == 0:
            prepare()
        return run_training(root, arguments)

    return [fork(partial(work, rank), log) for rank in range(processes)]


def _killed(
    root: Path, arguments: list[str], processes: int, log: Path, rng: random.Random, moment: str, seconds: float
) -> bool:
    """Start a run and kill -9 it. Return whether it was killed before its end."""
    prepare = partial(_die_at, moment, rng.randint(1, MOST_CALLS.get(moment, 1)))
    numbers = _start(root, arguments, processes, log, prepare)
    if moment == 'time':
        time.sleep(rng.uniform(0, seconds))
        group = rng.choice([True, False])  # a lost machine, or the main process alone
        kill(numbers[0], group)
    codes = wait(numbers[:1], LONGEST)
    for number in numbers[1:]:
        kill(number, True)
    wait(numbers[1:], LONGEST)
    if codes[0] not in (0, -signal.SIGKILL):
        raise BrokenPromiseError(f'exit code {codes[0]} (None: it hangs) on the way, {moment}; {_last_words(log)}')
    return codes[0] == -signal.SIGKILL


def _die_at(moment: str, calls: int) -> None:
    """Have this process kill itself at a call of the function that belongs to the moment; `time` has none."""
    if moment == 'time':
        return
    place, name = {
        'sync': (os, 'fsync'),
        'rename': (os, 'replace'),
        'half a file': (torch, 'save'),
        'validation': (evaluation, '_finished'),
    }[moment]
    real, left = getattr(place, name), [calls]

    def counted(*arguments: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0]:
            return real(*arguments, **keywords)
        if moment == 'half a file':
            content, file = arguments
            whole = io.BytesIO()
            real(content, whole)
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(place, name, counted)


def _require_good(codes: list[int | None], log: Path) -> None:
    if any(codes):
        raise BrokenPromiseError(f'exit codes {codes} (None: it hangs); {_last_words(log)}')
    if None in codes:
        raise BrokenPromiseError(f'it hangs; {_last_words(log)}')


def _last_words(log: Path) -> str:
    lines = log.read_text(errors='replace').splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    return f'{log}: {(errors or lines or [""])[-1][:300]}'
