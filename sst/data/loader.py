"""The loader that reads the stream: this process's batches, from any iteration to the last."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from sst.data.prefetch import background
from sst.data.stream import StreamDataset, StreamSampler, check_batch
from sst.utils.errors import UserError


class _Unusable(NamedTuple):
    """Takes a fault out of a worker: the loader would wrap it in the worker's stack trace."""

    text: str


class Careful(Dataset):
    """The dataset with each `UserError` handed over as a batch, by `collate`, that `checked` raises."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Any) -> Any:
        try:
            return self.dataset[place]
        except UserError as fault:
            return _Unusable(str(fault))


def collate(samples: list[Any]) -> Any:
    """One batch of a `Careful` dataset's samples, or the first fault among them."""
    return next((sample for sample in samples if isinstance(sample, _Unusable)), None) or default_collate(samples)


def checked(batch: Any) -> Any:
    """The batch. Raises `UserError` if it is a fault."""
    if isinstance(batch, _Unusable):
        raise UserError(batch.text)
    return batch


class TrainLoader:
    """This process's batches, from the first iteration left to do to the last.

    `iter` is lazy: workers start at the first `next`, because BasicSR calls `iter` twice and uses the second.

    Args:
        loader: gives the batches.
        queue: batches that a thread fetches ahead; 0 for none.
        on_request: called with the number of batches taken before, each time one is asked for.
    """

    def __init__(self, loader: DataLoader, queue: int = 0, on_request: Callable[[int], None] | None = None) -> None:
        self.loader, self.queue, self.on_request = loader, queue, on_request

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        taken = 0
        batches = background(self.loader, self.queue) if self.queue else iter(self.loader)
        while True:
            if self.on_request is not None:
                self.on_request(taken)
            try:
                batch = next(batches)
            except StopIteration:
                return
            yield checked(batch)
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
) -> TrainLoader:
    """The stream of `dataset` as this process reads it; batches hold total_batch / world samples.

    Args:
        accumulate: parts that each process's batch is cut into later.
        num_workers: loading processes; 0 loads in this one.
        queue: batches fetched ahead by a thread; needs a worker, because samples seed the process's random numbers.
        context: `fork`, `spawn` or null for the system's default.

    Raises:
        UserError: the batch does not divide, or `queue` without a worker.
    """
    check_batch(total_batch, world, accumulate)
    if queue and not num_workers:
        raise UserError(
            'datasets.train.prefetch_mode: cpu needs num_workers of at least 1 (0 given); add --force_yml '
            'datasets:train:num_workers=1 or datasets:train:prefetch_mode=null'
        )
    sampler = StreamSampler(len(dataset), total_batch, seed, rank, world, start_iter, total_iter)
    loader = DataLoader(
        Careful(StreamDataset(dataset, seed)),
        batch_size=total_batch // world,
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=pin_memory and torch.cuda.is_available(),
        collate_fn=collate,
        worker_init_fn=_start_worker,
        multiprocessing_context=context,
        generator=torch.Generator(),
    )  # its own: the process's random state stays as it is
    return TrainLoader(loader, queue, on_request)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
