"""Work on many files: all cores, a progress bar, errors that name their file, shards for several machines."""

import argparse
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

from sst.utils import pixels
from sst.utils.cores import usable_cores
from sst.utils.errors import UserError

Job = TypeVar('Job')
Result = TypeVar('Result')

MOST_FAULTS_SHOWN = 20
WAITING_PER_WORKER = 4  # jobs submitted ahead; this limits the memory of results


class FileError(Exception):
    """What is wrong with one input file, in one line that names it. Work on the other files continues."""


def add_arguments(parser: argparse.ArgumentParser, *, shards: bool = True) -> None:
    """Declare `--jobs`, `--max-megapixels` and, where machines can share the work, `--shard`."""
    parser.add_argument('--jobs', type=int, default=usable_cores(), help='number of processes (%(default)s)')
    pixels.add_argument(parser)
    if shards:
        parser.add_argument('--shard', default='1/1', metavar='I/N', help='process only part I of N (1/N to N/N)')


def take_shard(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Every N-th job from the I-th on, for `shard` 'I/N'. Raises UserError for any other text."""
    numbers = re.fullmatch(r'(\d+)/(\d+)', shard)
    part, parts = (int(number) for number in numbers.groups()) if numbers else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f'--shard {shard}: must be I/N with I from 1 to N; use for example 1/4, 2/4, 3/4, 4/4')
    return list(jobs[part - 1 :: parts])


def raise_faults(faults: Sequence[str], advice: str) -> None:
    """Raise one UserError that lists the faults of single files, if there are any, and ends in `advice`."""
    if faults:
        more = len(faults) - MOST_FAULTS_SHOWN
        rest = [f'... and {more} more'] if more > 0 else []
        raise UserError('\n'.join([*faults[:MOST_FAULTS_SHOWN], *rest, f'{len(faults)} files failed; {advice}']))


def make_files(
    work: Callable[[Job], tuple[int, int]],
    jobs: Sequence[Job],
    description: str,
    folders: Sequence[Path],
    args: argparse.Namespace,
) -> None:
    """Run this shard's jobs. Each returns how many files it wrote and how many existed; print the totals.

    Raises:
        UserError: as `run_jobs`, and at the end for all images that failed.
    """
    faults: list[str] = []
    results = list(run_jobs(work, take_shard(jobs, args.shard), description, args.jobs, faults))
    made, kept = (sum(counts) for counts in zip((0, 0), *results, strict=True))
    print(f'{", ".join(map(str, folders))}: {made} files written, {kept} existed already')
    raise_faults(faults, 'all others are done; fix these and run the same command again')


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], description: str, workers: int, faults: list[str]
) -> Iterator[Result]:
    """Yield `work(job)` of each job in order, computed by `workers` processes.

    Only a few results wait at a time, however many jobs there are. A job that raises FileError yields nothing and its
    line is added to `faults`. Any other exception ends the work.

    Raises:
        UserError: a job raised it, `workers` is below 1, or a worker was killed.
    """
    if workers < 1:
        raise UserError(f'--jobs {workers}: must be at least 1')
    outcomes = _outcomes(work, jobs, min(workers, len(jobs)))
    with closing(outcomes), tqdm(total=len(jobs), desc=description, unit='file', disable=None) as bar:
        for outcome in outcomes:
            try:
                result = outcome()
            except FileError as fault:
                faults.append(str(fault))
            except BrokenProcessPool as fault:
                raise UserError(
                    'a worker process was killed (out of memory?); run the same command again with a smaller --jobs to '
                    'continue'
                ) from fault
            else:
                yield result
            bar.update()


def _outcomes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int
) -> Generator[Callable[[], Result], None, None]:
    """Functions that return the results of the jobs in order, or raise what the jobs raised."""
    if workers <= 1:
        for job in jobs:
            yield partial(work, job)
        return
    cv2.setNumThreads(1)  # the processes share the cores, and threads do not survive a fork
    # Forked workers share all imports; a spawned worker needs seconds and memory of its own for them. Windows cannot
    # fork, and on macOS some libraries crash after a fork.
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
    pixels.set_default_limit(megapixels)  # a spawned process does not inherit it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent was killed, because such a parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # only workers call this
    wait([parent.sentinel])
    os._exit(1)
