"""Work shared between the processes that torchrun starts, on one machine or many, over a common file system."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from sst.upscaling.jobs import Job

_LONG = timedelta(days=30)


class Alone:
    """One process that does all the work."""

    rank, world = 0, 1

    def __init__(self) -> None:
        self.told: set[str] = set()

    def first_to_tell(self, what: str) -> bool:
        """Whether no process has told the user of it yet."""
        first = what not in self.told
        self.told.add(what)
        return first

    def agree(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs as the first process sees them."""
        return list(jobs)

    def taken(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Those jobs that this process is to do, each asked for when the one before is done."""
        yield from jobs

    def total(self, done: int, failed: int) -> tuple[int, int]:
        """What all processes have done; waits for them, so that none is stopped because another one ends."""
        return done, failed


class Together(Alone):
    """One of several processes; each takes the next job when it is free. Found through torchrun's environment."""

    def __init__(self) -> None:
        import torch.distributed

        dist: Any = torch.distributed  # whose types leave out what is used here
        store, self.rank, self.world = next(dist.rendezvous('env://', timeout=_LONG))
        self.store: Any = dist.PrefixStore('sst-upscale', store)

    def agree(self, jobs: Sequence[Job]) -> list[Job]:
        if self.rank == 0:
            self.store.set('jobs', json.dumps([[str(job.source), str(job.target), job.video] for job in jobs]))
            return list(jobs)
        return [Job(Path(source), Path(target), video) for source, target, video in json.loads(self.store.get('jobs'))]

    def first_to_tell(self, what: str) -> bool:
        return self.store.add(f'told {what}', 1) == 1

    def taken(self, jobs: Sequence[Job]) -> Iterator[Job]:
        while (number := self.store.add('next', 1) - 1) < len(jobs):
            yield jobs[number]

    def total(self, done: int, failed: int) -> tuple[int, int]:
        self.store.add('done', done)
        self.store.add('failed', failed)
        if self.store.add('finished', 1) == self.world:
            sums = self.store.add('done', 0), self.store.add('failed', 0)
            self.store.set('sums', json.dumps(sums))
        done, failed = json.loads(self.store.get('sums'))
        self.store.add('read', 1)
        if self.rank == 0:  # it may host the store: the last to leave
            while self.store.add('read', 0) < self.world:
                time.sleep(0.05)
        return done, failed


def sharing() -> Alone:
    """How this process shares its work: with others if torchrun started it."""
    return Together() if int(os.environ.get('WORLD_SIZE', 1)) > 1 else Alone()
