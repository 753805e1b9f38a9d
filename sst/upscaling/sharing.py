"""Work shared between the processes that torchrun starts, on one machine or many, over a common file system."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed

from sst.upscaling.jobs import Job

_TIMEOUT = timedelta(days=30)


class Share:
    """This process's share of the work; without torchrun it is everything.

    The processes share numbers in torchrun's own store. A process takes the next job as soon as it has finished one.
    """

    def __init__(self) -> None:
        dist: Any = torch.distributed  # its types leave out what is used here
        store, self.rank, self.world = dist.HashStore(), 0, 1
        if int(os.environ.get('WORLD_SIZE', 1)) > 1:
            store, self.rank, self.world = next(dist.rendezvous('env://', timeout=_TIMEOUT))
        self.store: Any = dist.PrefixStore('sst-upscale', store)

    def agree(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs as the first process sees them."""
        if self.rank == 0:
            self.store.set('jobs', json.dumps([[str(job.source), str(job.target)] for job in jobs]))
        return [Job(Path(source), Path(target)) for source, target in json.loads(self.store.get('jobs'))]

    def first_to_say(self, what: str) -> bool:
        """Whether no process has told the user of it yet."""
        return self.store.add(f'said {what}', 1) == 1

    def take(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """The jobs that this process does. Each is taken when the one before is done."""
        while (number := self.store.add('next', 1) - 1) < len(jobs):
            yield jobs[number]

    def total(self, done: int, failed: int) -> tuple[int, int]:
        """How many jobs all processes have done. Waits for all, because torchrun stops the others if one fails."""
        self.store.add('done', done)
        self.store.add('failed', failed)
        if self.store.add('finished', 1) == self.world:
            sums = self.store.add('done', 0), self.store.add('failed', 0)
            self.store.set('sums', json.dumps(sums))
        done, failed = json.loads(self.store.get('sums'))
        self.store.add('read', 1)
        while self.rank == 0 and self.store.add('read', 0) < self.world:  # it may host the store: the last to leave
            time.sleep(0.05)
        return done, failed
