"""Fetching batches ahead: by a thread, or onto the GPU."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import torch


def background(batches: Iterable[Any], depth: int) -> Iterator[Any]:
    """The same batches, at most `depth` of them fetched ahead by a thread. A fault in the thread is raised here."""
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)

    def fetch() -> None:
        try:
            for batch in batches:
                waiting.put(('batch', batch))
            waiting.put(('end', None))
        except BaseException as fault:
            waiting.put(('fault', fault))

    threading.Thread(target=fetch, daemon=True).start()
    while True:
        kind, content = waiting.get()
        if kind == 'end':
            return
        if kind == 'fault':
            raise content
        yield content


class CUDAPrefetcher:
    """Copies the next batch to the GPU while the present one is worked on. Stands in for BasicSR's class of that name.

    BasicSR's fetches a batch at once and again at `reset`, which would drop the first batch of the stream and start
    the workers twice; and it lets a copy overwrite memory that the network still reads.
    """

    def __init__(self, loader: Iterable[Any], opt: dict[str, Any]) -> None:
        self.source, self.batches = loader, iter(loader)
        self.device = torch.device('cuda', torch.cuda.current_device())
        self.stream = torch.cuda.Stream()
        self.batch: dict[str, Any] | None = None

    def reset(self) -> None:
        """Begin at the loader's first batch."""
        self.batches = iter(self.source)
        self._fetch()

    def next(self) -> dict[str, Any] | None:
        """The next batch, its tensors on the GPU; None at the end."""
        current = torch.cuda.current_stream()
        current.wait_stream(self.stream)
        batch = self.batch
        for value in (batch or {}).values():
            if torch.is_tensor(value):
                value.record_stream(current)
        self._fetch()
        return batch

    def _fetch(self) -> None:
        batch = next(self.batches, None)
        if batch is not None:
            with torch.cuda.stream(self.stream):
                batch = {
                    key: value.to(self.device, non_blocking=True) if torch.is_tensor(value) else value
                    for key, value in batch.items()
                }
        self.batch = batch
