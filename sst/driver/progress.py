"""Progress of a training run: the bar, the log lines, TensorBoard's scalars."""

import datetime
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from basicsr.utils import init_wandb_logger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sst.utils.errors import UserError

Function = TypeVar('Function', bound=Callable[..., Any])


class Progress:
    """Follows a training run. Stands in for BasicSR's `MessageLogger`; only rank 0 shows anything.

    The loader tells it each request for a batch (`on_request`); BasicSR's loop calls it every `print_freq`
    iterations with values fetched just then. Time spent in functions wrapped by `besides` (validation, saving) counts
    for the time left, not for the time per iteration.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt, self.total = opt, opt['train']['total_iter']
        self.ahead = 1 if opt['datasets']['train']['prefetch_mode'] == 'cuda' else 0
        self.logger = logging.getLogger('basicsr')
        self.open = ExitStack()
        self.bar: tqdm | None = None
        self.writer: Any = None
        self.start_iter = self.last_iter = self.counted_from = self.done = 0
        self.start_time = self.last_time = time.perf_counter()
        self.time_besides = 0.0

    def begin(self, opt: dict[str, Any], start_iter: int, writer: Any) -> 'Progress':
        """Called by BasicSR's loop where it would build its `MessageLogger`."""
        self.start_iter = self.last_iter = self.counted_from = start_iter
        self.start_time = self.last_time = time.perf_counter()
        self.writer = writer
        if opt['rank'] == 0 and sys.stderr.isatty():
            self.open.enter_context(logging_redirect_tqdm([self.logger]))
            # smoothing 0: the rate and the time left are means over this session, validation included
            self.bar = self.open.enter_context(
                tqdm(total=self.total, initial=start_iter, desc=opt['name'], unit='it', smoothing=0, dynamic_ncols=True)
            )
        return self

    def reset_start_time(self) -> None:
        """Start the clock after the first iteration, which sets things up. BasicSR's loop calls this then."""
        self.counted_from, self.start_time = self.start_iter + 1, time.perf_counter()

    def on_request(self, taken: int) -> None:
        """Advance the bar: `taken` batches were taken before this request, so their iterations are done."""
        self.done = self.start_iter + max(taken - self.ahead, 0)
        if self.bar is not None:
            self.bar.update(self.done - self.bar.n)

    def besides(self, function: Function) -> Function:
        """`function`, its time not counted as training."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.time_besides += time.perf_counter() - begin

        return timed  # type: ignore[return-value]  # same signature

    def __call__(self, log_vars: dict[str, Any]) -> None:
        """Log one line and its scalars; `log_vars` holds `iter`, `lrs`, `data_time` and the model's values."""
        if self.opt['rank'] != 0:
            return
        values = dict(log_vars)
        iteration, rates, data_time = values.pop('iter'), values.pop('lrs'), values.pop('data_time', 0.0)
        for unused in ('epoch', 'time'):  # the stream has no epochs; BasicSR's timer does not wait for the GPU
            values.pop(unused, None)
        now = time.perf_counter()
        seconds = (now - self.last_time - self.time_besides) / max(iteration - self.last_iter, 1)
        counted = iteration - self.counted_from
        mean = (now - self.start_time) / counted if counted else seconds  # validation included
        left = mean * (self.total - iteration)
        self.last_iter, self.last_time, self.time_besides = iteration, now, 0.0

        rates_text = ','.join(f'{rate:.3e}' for rate in rates)
        values_text = ' '.join(f'{name}: {value:.6e}' for name, value in values.items())
        self.logger.info(
            f'[{self.opt["name"]}][iter:{iteration:8,d}/{self.total:,d}, lr:({rates_text})] '
            f'[eta: {datetime.timedelta(seconds=int(left))}, '
            f'time (data): {seconds:.3f} ({data_time:.3f})] {values_text}'
        )
        if self.bar is not None:
            self.bar.set_postfix_str(f'{values_text} lr: {rates[0]:.2e}', refresh=False)
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f'losses/{name}' if name.startswith('l_') else name, value, iteration)
            self.writer.add_scalar('lr', rates[0], iteration)
            self.writer.add_scalar('time', seconds, iteration)
            if torch.cuda.is_initialized():
                self.writer.add_scalar(
                    'memory', torch.cuda.max_memory_allocated() / 1e9, iteration
                )  # GB, at most so far
            self.writer.flush()  # an interrupted run keeps what was logged

    def close(self) -> None:
        """Close the bar and TensorBoard's file, and return the stream to the log."""
        if self.writer is not None:
            self.writer.close()
        self.open.close()
        self.bar = None


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Suppress the stack traces of log files and of TensorBoard's thread when a disk is full.

    The fault itself stops the run at the next value or checkpoint that cannot be written.
    """
    raising, hook = logging.raiseExceptions, threading.excepthook

    def thread_failed(failure: threading.ExceptHookArgs) -> None:
        if not isinstance(failure.exc_value, OSError):
            hook(failure)

    logging.raiseExceptions, threading.excepthook = False, thread_failed
    try:
        yield
    finally:
        logging.raiseExceptions, threading.excepthook = raising, hook


class Writer:
    """TensorBoard's writer, which does not end a run. While the disk takes nothing, values are lost, as the log says.

    Args:
        folder: of the event files.
        purge: values from this iteration on, which an earlier run left, are hidden.
    """

    def __init__(self, folder: Path, purge: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only rank 0 needs it

        self.folder, self.make, self.told = folder, SummaryWriter, False
        self.writer: Any = SummaryWriter(str(folder), purge_step=purge)

    def add_scalar(self, name: str, value: float, iteration: int) -> None:
        """As TensorBoard's."""
        self._try(lambda writer: writer.add_scalar(name, value, iteration))

    def add_image(self, name: str, image: Any, iteration: int) -> None:
        """As TensorBoard's."""
        self._try(lambda writer: writer.add_image(name, image, iteration))

    def flush(self) -> None:
        """Write what is waiting."""
        self._try(lambda writer: writer.flush())

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        if self.writer is not None:
            self._try(lambda writer: writer.close())

    def _try(self, work: Callable[[Any], object]) -> None:
        try:
            self.writer = self.writer or self.make(str(self.folder))
            work(self.writer)
        except OSError as fault:  # TensorBoard's thread is gone now: the next value opens another file
            self.writer = None
            if not self.told:
                logging.getLogger('basicsr').warning(f'cannot write {self.folder}: {fault.strerror}; values are lost')
            self.told = True


def init_writers(opt: dict[str, Any], start_iter: int) -> Any:
    """Rank 0's TensorBoard writer in the run's folder (and W&B, which copies it), or None.

    What an earlier run logged after `start_iter` is hidden.
    """
    if opt['rank'] != 0 or not opt['logger']['use_tb_logger']:
        return None
    if (wandb := opt['logger']['wandb']) and wandb['project']:
        os.environ.setdefault('WANDB_DIR', opt['path']['experiments_root'])
        init_wandb_logger(opt)
    purge = start_iter + 1 if start_iter else None
    folder = Path(opt['path']['experiments_root'], 'tb_logger')
    try:
        return Writer(folder, purge)
    except OSError as fault:
        raise UserError(f'cannot write {folder}: {fault.strerror}; it must be a folder that may be written') from fault
