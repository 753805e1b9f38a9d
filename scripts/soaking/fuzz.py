"""Gives damaged files, options and requests to the programs' readers. Only our own errors may come out, and soon."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from soaking.children import fork, wait
from sst.utils.errors import UserError

Attempt = Callable[[random.Random, Path], object]  # reads something damaged; may raise UserError
LONGEST = 20  # seconds of a case
BATCH = 200  # cases of one child


def soak_fuzz(
    kinds: dict[str, Attempt], root: Path, seed: int, cases: int, until: float, tell: Callable[[str], None]
) -> Counter[str]:
    """Try `cases` damaged inputs, all kinds in turn, and tell of each that ends in anything but our own errors.

    Args:
        kinds: what to try, by name.
        root: a folder to write in.
        until: the time (`time.monotonic`) to stop at.

    Returns:
        Counter: cases by kind, `refused` (those that our own errors answered) and `failed`.
    """
    counts: Counter[str] = Counter()
    numbers = iter(range(seed, seed + cases))
    batches = iter(lambda: [number for _, number in zip(range(BATCH), numbers, strict=False)], [])
    for batch in batches:
        while batch and time.monotonic() < until:
            answers, crash = _in_a_child(kinds, root, batch)
            for number, answer in zip(batch, answers, strict=False):
                kind = _kind(kinds, number)
                counts[kind] += 1
                counts['refused'] += answer == b'r'
                if answer == b'f':
                    counts['failed'] += 1
            if crash and len(answers) < len(batch):
                number = batch[len(answers)]
                counts[_kind(kinds, number)] += 1
                counts['failed'] += 1
                tell(f'FAILED with --seed {number}: {_kind(kinds, number)}: {crash}')
                answers.append(b'f')
            batch = batch[len(answers) :]
    for line in _failures(root):
        tell(line)
    return counts


def _kind(kinds: dict[str, Attempt], number: int) -> str:
    return list(kinds)[number % len(kinds)]


def _in_a_child(kinds: dict[str, Attempt], root: Path, batch: list[int]) -> tuple[list[bytes], str]:
    """The answers to a batch (`r`efused, `t`aken, `f`ailed), and how the child ended if it did so in the middle."""
    reading, writing = os.pipe()

    def work() -> int:
        os.close(reading)
        for number in batch:
            os.write(writing, _try(kinds, root, number))
        return 0

    child = fork(work, root / 'fuzz.log')
    os.close(writing)
    with open(reading, 'rb') as answers:
        content = answers.read()
    (code,) = wait([child], LONGEST)
    ends = {-signal.SIGALRM: f'it hangs for more than {LONGEST} s', 0: ''}
    crash = '' if code == 0 else ends.get(code or 1, f'the process ends with code {code}')
    return [content[place : place + 1] for place in range(len(content))], crash


def _try(kinds: dict[str, Attempt], root: Path, number: int) -> bytes:
    kind, folder = _kind(kinds, number), root / 'case'
    folder.mkdir(exist_ok=True)
    signal.alarm(LONGEST)
    try:
        kinds[kind](random.Random(number), folder)
    except UserError:
        return b'r'
    except Exception as fault:
        with open(root / 'failures.txt', 'a', encoding='utf-8', errors='replace') as file:
            file.write(
                f'FAILED with --seed {number}: {kind}: {type(fault).__name__}: {" ".join(str(fault).split())[:200]}'
            )
            file.write(f' ({_place(fault)})\n')
        return b'f'
    finally:
        signal.alarm(0)
    return b't'


def _place(fault: BaseException) -> str:
    """Where in our own code a fault passed last."""
    trace, found = fault.__traceback__, '?'
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if '/sst/' in name:
            found = f'{name.rpartition("/sst/")[2]}:{trace.tb_lineno}'
        trace = trace.tb_next
    return found


def _failures(root: Path) -> Iterator[str]:
    if (root / 'failures.txt').exists():
        yield from (root / 'failures.txt').read_text(encoding='utf-8').splitlines()


def refusing(attempt: Callable[..., Any], *errors: type[Exception]) -> Attempt:
    """An attempt whose own errors of another type count as ours."""

    def tried(rng: random.Random, folder: Path) -> object:
        try:
            return attempt(rng, folder)
        except errors as fault:
            raise UserError(str(fault)) from fault

    return tried
