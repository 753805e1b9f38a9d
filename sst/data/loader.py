"""The loader that reads the stream: this process's batches, from any iteration to the last."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from sst.data.prefetch import background
from sst.data.samples import CheckedSamples, ReplacedImages, ReplacingSamples, collate, usable
from sst.data.stream import StreamDataset, StreamSampler, check_batch
from sst.utils.cores import usable_cores
from sst.utils.platforms import existing_signals

SECONDS_AFTER_SIGTERM = 30  # as long as torchrun waits


class TrainLoader:
    """This process's batches, from the first iteration left to do to the last.

    `iter` is lazy: workers start at the first `next`, because BasicSR calls `iter` twice and uses the second.

    Args:
        loader: gives the batches.
        queue: batches that a thread fetches ahead; 0 for none.
        on_request: called with the number of batches taken before, each time one is asked for.
        most_bad: images that may become unreadable.
    """

    def __init__(
        self,
        loader: DataLoader,
        queue: int = 0,
        on_request: Callable[[int], None] | None = None,
        most_bad: int = 0,
    ) -> None:
        self.loader, self.queue, self.on_request = loader, queue, on_request
        self.replaced = ReplacedImages(most_bad)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        taken = 0
        batches = background(self.loader, self.queue) if self.queue else begin(self.loader)
        while True:
            if self.on_request is not None:
                self.on_request(taken)
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield self.replaced.note(usable(batch))
            taken += 1


def build_train_loader(
    dataset: Any,
    *,
    total_batch: int,
    seed: int,
    start_iter: int,
    total_iter: int,
    rank: int = 0,
    world: int = 1,
    accumulate: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
    queue: int = 0,
    on_request: Callable[[int], None] | None = None,
    context: str | None = None,
    most_bad: int = 0,
) -> TrainLoader:
    """The stream of `dataset` as this process reads it; batches hold total_batch / world samples.

    Args:
        accumulate: parts that each process's batch is cut into later.
        num_workers: loading processes; 0 loads in this one. There are no more of them than this process has cores.
        queue: batches fetched ahead by a thread; needs a worker, because samples seed the process's random numbers.
        context: `fork`, `spawn` or null for the system's default.
        most_bad: images that may become unreadable; others take their places (`ReplacingSamples`).

    Raises:
        UserError: the batch does not divide.
    """
    check_batch(total_batch, world, accumulate)
    sampler = StreamSampler(len(dataset), total_batch, seed, rank, world, start_iter, total_iter)
    loader = DataLoader(
        ReplacingSamples(CheckedSamples(StreamDataset(dataset, seed), 'training'), seed, most_bad),
        batch_size=total_batch // world,
        sampler=sampler,
        num_workers=affordable(num_workers),
        pin_memory=pin_memory and torch.cuda.is_available(),
        collate_fn=collate,
        worker_init_fn=start_worker,
        multiprocessing_context=context,
        generator=torch.Generator(),
    )  # its own: the process's random state stays as it is
    return TrainLoader(loader, queue, on_request, most_bad)


def affordable(workers: int) -> int:
    """As many loading processes as this process has cores; a note in the log tells where these are fewer than asked."""
    cores = usable_cores()
    if workers > cores:
        _tell_once(workers, cores)
    return min(workers, cores)


@cache
def _tell_once(workers: int, cores: int) -> None:
    logger = logging.getLogger('basicsr')
    logger.info('num_workers %d: this process has %d cores, so it starts %d', workers, cores, cores)


def begin(loader: DataLoader) -> Iterator[Any]:
    """The batches of a loader.

    PyTorch installs a handler that raises an error wherever this process happens to be when a loading process dies.
    Without it the error comes to whoever waits for the next batch.
    """
    former = {number: signal.getsignal(number) for number in existing_signals('SIGCHLD')}
    batches = iter(loader)
    if threading.current_thread() is threading.main_thread():
        for number, handler in former.items():
            signal.signal(number, handler)
    return batches


def start_worker(_: int) -> None:
    """Begin a loading process: one thread, and no end of its own by a signal that the whole group of processes gets.

    The process that trains may still need batches, and ends this one with itself.
    """
    for number in existing_signals('SIGINT', 'SIGHUP', 'SIGUSR1'):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'alarm'):
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_AFTER_SIGTERM))
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
