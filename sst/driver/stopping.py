"""Ctrl-C and the signals of schedulers. All processes agree on an iteration, stop after it, and save the run."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed

from sst.driver.loaders import create_loaders
from sst.driver.prepare import Run
from sst.driver.progress import Progress
from sst.utils.errors import Stopped
from sst.utils.platforms import existing_signals

SIGNALS = existing_signals('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP')
NOTICE = 'the run saves its state after this iteration and ends; Ctrl-C again ends it at once'


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program at once. `number` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """The signals that end a run. It ends at once, or, while `waiting`, when `number` is read.

    Args:
        first: whether this process is the one that tells the user.
    """

    def __init__(self, first: bool) -> None:
        self.first, self.process = first, os.getpid()
        self.number, self.waiting, self._since = 0, False, 0.0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals for a while, except those that are ignored on purpose, as nohup does.

        Only the main thread of a program gets signals; from another one nothing is taken over.
        """
        mine = SIGNALS if threading.current_thread() is threading.main_thread() else ()
        former = {number: signal.getsignal(number) for number in mine}
        taken = {number: handler for number, handler in former.items() if handler is not signal.SIG_IGN}
        for number in taken:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number, handler in taken.items():
                signal.signal(number, handler)

    def _take(self, number: int, _: Any) -> None:
        if not self.waiting:
            raise Interrupted(number)
        if not self.number:
            self.number, self._since = number, time.monotonic()
            if self.first and os.getpid() == self.process:  # a loading process may be just starting
                with suppress(OSError):  # the terminal may be gone
                    os.write(2, f'\n{signal.Signals(number).name}: {NOTICE}\n'.encode())
        elif number == signal.SIGINT and time.monotonic() - self._since > 1:  # torchrun passes one on twice
            raise Interrupted(number)


class Agreement:
    """Makes all processes stop after the same iteration. It never uses a GPU or waits for one.

    After each iteration a process adds its word to a counter in the store through which the processes found each
    other; the last one to do so writes the answer, which all read after the next iteration. By then it is there.

    Args:
        returns: how often the run has gone back; each time the counting begins anew, under another name.
    """

    def __init__(self, signals: Signals, world: int, returns: int) -> None:
        self.signals, self.world, self.step = signals, world, 0
        self.store: Any = None
        if world > 1:
            dist: Any = torch.distributed  # whose types leave out what is used here
            self.store = dist.PrefixStore(f'sst-stop-{returns}', dist.distributed_c10d._get_default_store())

    def asked(self) -> int:
        """The signal because of which all processes stop now, or 0. Each process must call it after each iteration."""
        if self.store is None:
            return self.signals.number
        step, number, self.step = self.step, self.signals.number, self.step + 1
        if number:
            self.store.set('signal', str(number))
        words = self.store.add(f'words {step}', 1 if not number else 1 + 2**32)
        if words % 2**32 == self.world:
            self.store.set(f'answer {step}', self.store.get('signal') if words > self.world else '0')
            self.store.delete_key(f'words {step - 2}')
            self.store.delete_key(f'answer {step - 2}')
        return int(self.store.get(f'answer {step - 1}')) if step else 0


class Stopping:
    """Follows a training run, and raises `Stopped` when a signal asks for it.

    Attributes:
        iteration: the last one that is trained whole.
    """

    def __init__(self, run: Run, signals: Signals, progress: Progress) -> None:
        self.run, self.signals, self.progress = run, signals, progress
        self.agreement = Agreement(signals, run.place.world, run.model.leaps.returns)
        self.iteration = 0
        self.val_loaders: list[Any] = []
        self.validation = run.model.validation
        run.model.stop_asked = lambda: signals.number
        run.model.validation = self._validate

    def create_loaders(self, _: Any, logger: Any) -> tuple[Any, ...]:
        """Replaces BasicSR's `create_train_val_dataloader`."""
        loaders = create_loaders(self.run, logger, self._on_request)
        self.val_loaders = loaders[2]
        return loaders

    def _on_request(self, taken: int) -> None:
        self.progress.on_request(taken)
        self.iteration = self.progress.done
        if not taken:
            self._catch_up()
        if number := self.agreement.asked():
            raise Stopped(number)

    def _validate(self, loader: Any, current_iter: int, *others: Any) -> None:
        self.iteration = current_iter
        self.validation(loader, current_iter, *others)

    def _catch_up(self) -> None:
        """Do the validations that were due when the resumed state was saved."""
        for loader in self.val_loaders:
            if self.run.state and loader.dataset.opt['name'] in self.run.state.get('validation_due', ()):
                self.run.model.validation(loader, self.iteration, self.progress.writer, self.run.opt['val']['save_img'])
