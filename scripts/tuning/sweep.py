"""Goes through builds: compiles their candidates in other processes, checks and times them where there is a GPU."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import torch

from sst.ops.kernels.configurations import Configuration
from sst.utils.cores import usable_cores
from tuning.candidates import SHARED_MEMORY, SMALL_MEMORY, Choices, candidates
from tuning.compiling import Build, Usage, compile_kernel
from tuning.measuring import NO_TIME, TOLERANCE, Sample, Stopwatch, Trial, check, race, relative_error


@dataclass(frozen=True)
class Result:
    """All trials of a build, the table's configuration first."""

    build: Build
    trials: list[Trial]

    @property
    def present(self) -> Trial:
        return self.trials[0]

    @property
    def best(self) -> Trial | None:
        """The fastest that may be chosen; None where the table's was not timed: there is nothing to compare with."""
        if self.present.seconds is None:
            return None
        able = [trial for trial in self.trials if trial.seconds is not None and not trial.excluded]
        return min(able, key=lambda trial: trial.seconds or 0.0, default=None)

    @property
    def gain(self) -> float:
        """How many times as fast as the table's the best is."""
        best = self.best
        return self.present.seconds / best.seconds if best and best.seconds and self.present.seconds else 1.0


def sweep(
    builds: Sequence[Build],
    choices: Choices,
    deadline: float,
    device: torch.device | None,
    advance: Callable[[], object],
    seed: int = 0,
) -> Iterator[Result]:
    """Results in the order of the builds, until the deadline.

    Args:
        builds (Sequence[Build]): what to sweep, on a GPU of its own compute capability.
        choices (Choices): what candidates are made of.
        deadline (float): of `time.monotonic()`. What was not reached by then is left out.
        device (torch.device | None): a GPU; without one candidates are only compiled.
        advance (Callable): called after every candidate.
        seed (int): of the order in which candidates are timed.

    Raises:
        RuntimeError: the GPU or a compiling process is beyond use; the results so far are good.
    """
    rng = random.Random(seed)
    stopwatch = Stopwatch(device) if device else None
    # a fresh interpreter each: a process that was copied from one that uses a GPU is broken
    pool = ProcessPoolExecutor(
        max(usable_cores() - bool(device), 1), multiprocessing.get_context('spawn'), _ignore_interrupts
    )
    try:
        jobs = [(build, {c: pool.submit(usage_of, build, c) for c in candidates(build, choices)}) for build in builds]
        for build, futures in jobs:
            if time.monotonic() >= deadline:
                return
            trials = []
            for trial in _compiled(build, futures, shared_memory(build.capability, device), deadline):
                trials.append(trial)
                if trial.excluded or not device:  # the others have their turn when they are checked
                    advance()
            if device and stopwatch:
                measure(build, trials, device, stopwatch, deadline, rng, advance)
            yield Result(build, trials)
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business


def usage_of(build: Build, configuration: Configuration) -> Usage | str:
    """What a candidate takes, or why it does not compile: not all of Triton's exceptions can be sent on."""
    os.environ['TRITON_INTERPRET'] = '0'
    try:
        return compile_kernel(build, configuration)
    except Exception as fault:  # whatever it is, it is this candidate's
        return f'failed: {fault or type(fault).__name__}'


def shared_memory(capability: int, device: torch.device | None) -> int:
    """Bytes that a program can have."""
    if device is None:
        return SHARED_MEMORY.get(capability, SMALL_MEMORY)
    from triton.runtime import driver  # whose limit is the one that a launch is held to

    return driver.active.utils.get_device_properties(device.index)['max_shared_mem']


def _compiled(
    build: Build, futures: dict[Configuration, Future[Usage | str]], limit: int, deadline: float
) -> Iterator[Trial]:
    allowed = 0  # spilled bytes: as many as the table's gradient kernels have, a forward kernel none
    for number, (configuration, future) in enumerate(futures.items()):
        trial = Trial(configuration)
        try:
            answer = future.result(max(deadline - time.monotonic(), 0))
        except TimeoutError:
            answer = NO_TIME
        if isinstance(answer, str):
            trial.excluded = answer
        else:
            trial.usage = answer
            if number == 0 and build.kernel != 'forward':
                allowed = answer.spilled
            trial.excluded = 'shared memory' if answer.shared > limit else 'spills' if answer.spilled > allowed else ''
        yield trial


def measure(
    build: Build,
    trials: list[Trial],
    device: torch.device,
    stopwatch: Callable[[Callable[[], object]], float],
    deadline: float,
    rng: random.Random,
    advance: Callable[[], object],
) -> None:
    """Hold all candidates that are not excluded against the reference, then time those that are right."""
    try:
        errors = error_of(build, device)
        check([trial for trial in trials if not trial.excluded], errors, TOLERANCE[build.dtype], deadline, advance)
        del errors  # and the tensors behind it
        launch = Sample.to_time(build, device).prepared()
        able = [trial for trial in trials if not trial.excluded]
        race(able, lambda c: stopwatch(lambda: launch(c)), trials[0].configuration, deadline, rng)
    except torch.OutOfMemoryError:
        for trial in trials:
            trial.excluded = trial.excluded or 'the GPU has too little memory'


def error_of(build: Build, device: torch.device) -> Callable[[Configuration], float]:
    """How far the kernel in a configuration is from the reference."""
    sample = Sample.to_check(build, device)
    expected = sample.reference()
    return lambda configuration: relative_error(sample.computed(configuration), expected)
