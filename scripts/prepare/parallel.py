"""Long work on many files: every core, a progress bar, faults that name their file, shards for cluster arrays."""

import argparse
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

import cv2
from tqdm import tqdm

from sst.utils import pixels
from sst.utils.cores import usable_cores
from sst.utils.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')

MOST_FAULTS_SHOWN = 20
WAITING_PER_WORKER = 4  # jobs that are handed out ahead: bounds the memory that results take


class FileError(Exception):
    """What is wrong with one input file, in one line that names it. The work on other files goes on."""


def add_arguments(parser: argparse.ArgumentParser, *, shards: bool = True) -> None:
    """Declare `--jobs`, `--max-megapixels` and, where the work divides among machines, `--shard`."""
    parser.add_argument('--jobs', type=int, default=usable_cores(), help='processes (%(default)s)')
    pixels.add_argument(parser)
    if shards:
        parser.add_argument('--shard', default='1/1', metavar='I/N', help='do part I of N only, 1/N to N/N')


def take_shard(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Every n-th job from the i-th on, for `shard` 'i/n'. Raises UserError for what is no shard."""
    numbers = re.fullmatch(r'(\d+)/(\d+)', shard)
    part, parts = (int(number) for number in numbers.groups()) if numbers else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f'--shard {shard}: allowed is I/N with I from 1 to N, as 1/4, 2/4, 3/4, 4/4')
    return list(jobs[part - 1 :: parts])


class Faults:
    """The faults of single files, kept until all other files are done."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def raise_all(self, advice: str) -> None:
        """Raise one UserError that lists the faults, if there are any, and ends in `advice`."""
        if not self.lines:
            return
        shown = self.lines[:MOST_FAULTS_SHOWN]
        more = len(self.lines) - len(shown)
        rest = [f'... and {more} more like these'] if more else []
        raise UserError('\n'.join([*shown, *rest, f'{len(self.lines)} of the files failed; {advice}']))


def count(results: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Sums of what jobs return that count the files which they wrote and which were there."""
    made = kept = 0
    for job_made, job_kept in results:
        made += job_made
        kept += job_kept
    return made, kept


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], description: str, workers: int, faults: Faults
) -> Iterator[Result]:
    """Yield `work(job)` of each job in their order, computed by `workers` processes.

    Few results wait at a time, whatever the number of jobs. A job that raises FileError yields nothing; its line goes
    to `faults`. Anything else ends the work.

    Raises:
        UserError: if a job raised it, if `workers` is below 1, or if a worker was killed.
    """
    if workers < 1:
        raise UserError(f'--jobs {workers}: allowed is 1 or more')
    outcomes = _outcomes(work, jobs, min(workers, len(jobs)))
    with closing(outcomes), tqdm(total=len(jobs), desc=description, unit='file', disable=None) as bar:
        for outcome in outcomes:
            try:
                result = outcome()
            except FileError as fault:
                faults.lines.append(str(fault))
            except BrokenProcessPool as fault:
                raise UserError(
                    'a worker was killed (out of memory?); run the same command again with a smaller --jobs: it goes on'
                ) from fault
            else:
                yield result
            bar.update()


def _outcomes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Generator[Callable[[], Result], None, None]:
    """Calls that return the results of the jobs, in their order, or raise what they raised."""
    if workers <= 1:
        for job in jobs:
            yield partial(work, job)
        return
    cv2.setNumThreads(1)  # the processes share the cores; a pool of threads would not survive the fork
    # Forked workers share what is imported already; a spawned one needs seconds and its own memory for it. Windows
    # knows no fork, and the libraries of macOS do not survive it.
    context = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
    pool = ProcessPoolExecutor(workers, context, _start_worker, (pixels.default_limit(),))
    try:
        ahead = iter(jobs)
        waiting: deque[Future[Result]] = deque(
            pool.submit(work, job) for job in islice(ahead, workers * WAITING_PER_WORKER)
        )
        while waiting:
            yield waiting.popleft().result
            waiting.extend(pool.submit(work, job) for job in islice(ahead, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(megapixels: float) -> None:
    pixels.set_default_limit(megapixels)  # a spawned process knows nothing of what this one was told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed outright cannot stop its workers: they watch it."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only workers come here
    wait([parent.sentinel])
    os._exit(1)
