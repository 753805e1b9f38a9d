"""What watches over training: steps without finite numbers, losses that leap, and memory that runs out."""

import logging
import statistics
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sst.utils.errors import DivergedError, Spiked, UserError

logger = logging.getLogger('basicsr')
DIVERGED = (
    'lower train.optim_g.lr or set train.grad_clip (such as 0.5), and go on from the last checkpoint with --auto_resume'
)
FEWEST_LOSSES = 5  # before a loss can be called a leap


class BadSteps:
    """Counts the steps that are left out because the loss or the gradient is not finite.

    The number of a step is read at the next one, so that the program never waits for a GPU that has work to do.

    Args:
        most: of them in a row; then the run ends.
        processes: that train together.

    Attributes:
        row: of them in a row, up to now.
        total: of them in the whole run.
    """

    def __init__(self, most: int, processes: int) -> None:
        self.most, self.processes = most, processes
        self.row = self.total = 0
        self._noted: tuple[int, Tensor, torch.cuda.Event | None, Sequence[str]] | None = None

    def note(self, iteration: int, bad: Tensor, pictures: Sequence[str]) -> None:
        """Remember a step.

        Args:
            bad: whether it was left out; a truth value that is the same in all processes.
            pictures: of this process's part of the batch.
        """
        arrived = torch.cuda.Event() if bad.is_cuda else None
        if arrived:
            bad = torch.empty_like(bad, device='cpu', pin_memory=True).copy_(bad, non_blocking=True)
            arrived.record()
        self._noted = iteration, bad, arrived, pictures

    def settle(self, ends: bool = False) -> None:
        """Count the step that was noted. Every process must call it.

        Args:
            ends: whether it was the last of the run, which cannot recover any more.

        Raises:
            DivergedError: too many steps in a row were left out, or more than one at the end.
        """
        noted, self._noted = self._noted, None
        if noted is None:
            return
        iteration, bad, arrived, pictures = noted
        if arrived:
            arrived.synchronize()
        if not bad:
            self.row = 0
            return
        self.row, self.total = self.row + 1, self.total + 1
        if self.processes > 1:
            shares: list[Any] = [None] * self.processes
            dist.all_gather_object(shares, pictures)
            pictures = [name for share in shares for name in share]
        logger.warning(
            f'Iteration {iteration:,}: the loss or the gradient is not finite, so the step is left out '
            f'({self.row} in a row, {self.total} in all). Its pictures: {", ".join(dict.fromkeys(pictures))}'
        )
        if self.row >= self.most or (ends and self.row > 1):
            raise DivergedError(
                f'the loss or the gradient is not finite any more: {self.row} steps in a row were left out, the last '
                f'at iteration {iteration:,} (train.max_bad_steps); {DIVERGED}'
            )

    def state(self) -> dict[str, int]:
        """What a training state holds of it."""
        return {'row': self.row, 'total': self.total}

    def restore(self, state: Mapping[str, int] | None) -> None:
        """Go on counting from a state; None: from zero."""
        self.row, self.total = (int(state['row']), int(state['total'])) if state is not None else (0, 0)
        self._noted = None


class Leaps:
    """Watches the logged losses for a leap, which sends the run back to its last state (`train.spikes`).

    Args:
        options: the section; None never finds one.

    Attributes:
        returns: how often the run has gone back, up to now.
    """

    def __init__(self, options: Mapping[str, Any] | None) -> None:
        self.options = options
        self.returns = 0
        self.losses: deque[float] = deque(maxlen=options['window'] if options else 0)

    def see(self, loss: float) -> None:
        """Take the next logged loss.

        Raises:
            Spiked: it is `factor` times the median of those before it.
            DivergedError: it is so once more than `most` times.
        """
        if self.options is None:
            return
        usual = statistics.median(self.losses) if len(self.losses) >= FEWEST_LOSSES else None
        if usual is None or loss <= self.options['factor'] * usual:
            self.losses.append(loss)
            return
        what = (
            f'the loss leaps to {loss:.4g}, {loss / usual if usual else float("inf"):.1f} times its median {usual:.4g}'
        )
        if self.returns >= self.options['most']:
            raise DivergedError(f'{what}, after the run went back {self.returns} times already; {DIVERGED}')
        raise Spiked(what)

    def state(self) -> dict[str, Any]:
        """What a training state holds of it."""
        return {'returns': self.returns, 'losses': list(self.losses)}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a state; None: from nothing."""
        returns, losses = (int(state['returns']), state['losses']) if state is not None else (0, ())
        self.returns = returns
        self.losses.clear()
        self.losses.extend(float(loss) for loss in losses)


@contextmanager
def memory_told(opt: Mapping[str, Any], device: torch.device) -> Iterator[None]:
    """Turn an error of memory that is short into a `UserError` that says what to lower, with numbers."""
    try:
        yield
    except RuntimeError as fault:
        if not isinstance(fault, torch.OutOfMemoryError) and "can't allocate memory" not in str(fault):
            raise
        raise UserError(_advice(opt, device)) from fault


def _advice(opt: Mapping[str, Any], device: torch.device) -> str:
    data, train = opt['datasets']['train'], opt['train']
    share, parts = data['batch_size'] // opt['world_size'], train['accumulate']
    side = data['gt_size'] // opt['scale']
    room = ''
    if device.type == 'cuda':
        free, total = torch.cuda.mem_get_info(device)
        own = torch.cuda.memory_reserved(device)
        room = (
            f' ({total / 2**30:.1f} GiB, of which this process has {own / 2**30:.1f} and {free / 2**30:.1f} are free)'
        )
    more = next((number for number in range(parts + 1, share + 1) if share % number == 0), None)
    advice = []
    if more:
        advice.append(f'compute {share // more} at a time, with the same result: --force_yml train:accumulate={more}')
    if not train['recompute']:
        advice.append('keep less for the backward pass: train:recompute=true')
    if device.type == 'cuda' and not train['amp']:
        advice.append('use half of the bytes: train:amp=bf16')
    smaller = max(data['gt_size'] // 2 // opt['scale'], 1) * opt['scale']
    if smaller < data['gt_size']:
        advice.append(f'train with smaller crops, which changes the result: datasets:train:gt_size={smaller}')
    return (
        f'out of memory on {device}{room}: {share // parts} images of {side} x {side} LR pixels at a '
        f'time are too many; {"; or ".join(advice)}'
    )
