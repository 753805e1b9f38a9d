"""What a run would do, and about how long it would take: the table of `--dry-run`."""

import sys
import time
from functools import cache

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sst.api import Upscaler
from sst.inference.memory import own_memory
from sst.upscaling.files import Task
from sst.upscaling.jobs import Job
from sst.upscaling.videos import VideoInfo
from sst.utils.visible import visible

COLUMNS = ('file', 'size', 'result', 'size', 'network', 'tiles', 'about', 'memory')
_SHORTEST = 0.3  # seconds that a measurement takes at least
_LARGEST_SIDE = 512


class Forecast:
    """A row for each file, and the sum."""

    def __init__(self) -> None:
        self.table = Table(*COLUMNS, box=box.SIMPLE)
        self.files = self.unreadable = 0
        self.seconds, self.memory = 0.0, 0
        self.incomplete = False  # whether a video does not state its length
        self.process_memory = own_memory()

    def add(self, task: Task) -> None:
        frames = task.content.frames if isinstance(task.content, VideoInfo) else 1
        tiles = task.model.tiles(*task.size)
        seconds = (frames or 0) * sum(height * width for height, width in tiles) * seconds_per_pixel(task.model)
        memory = task.model.memory(*task.size)
        if task.model.device.type == 'cpu':
            memory += self.process_memory + 3 * task.size[0] * task.size[1]
            if task.job.video or task.job.target.suffix.lower() in ('.jpg', '.jpeg', '.webp'):  # encoded as a whole
                memory += 3 * task.new_size[0] * task.new_size[1]
        self.files += 1
        self.seconds += seconds
        self.memory = max(self.memory, memory)
        self.incomplete |= not frames
        before, after = task.sizes().split(' to ')
        self._row(
            *(task.job.source, before, task.job.target, after, task.network),
            f'{len(tiles)} in each of {frames or "all"} frames' if task.job.video else len(tiles),
            in_words(seconds) if frames else 'unknown',
            f'{memory / 1e9:.1f} GB',
        )

    def add_unreadable(self, job: Job) -> None:
        self.unreadable += 1
        self._row(job.source, 'cannot be read', *'------')

    def show(self) -> None:
        """Print the table, in full width unless a terminal limits it."""
        width = None if sys.stdout is not None and sys.stdout.isatty() else 100_000
        console = Console(width=width, highlight=False)
        console.print(self.table)
        more = ' and videos of unknown length' if self.incomplete else ''
        console.print(
            f'{self.files} to enlarge: about {in_words(self.seconds)}{more}, {self.memory / 1e9:.1f} GB; '
            f'{self.unreadable} cannot be read. Nothing is written.'
        )

    def _row(self, *cells: object) -> None:
        self.table.add_row(*(Text(visible(cell)) for cell in cells))


@cache
def seconds_per_pixel(model: Upscaler) -> float:
    """About how long an LR pixel takes, measured on a small image."""
    side = 64
    model(torch.zeros(3, side, side))  # the first call also loads and compiles
    while True:
        image = torch.rand(3, side, side)
        begin = time.perf_counter()
        model(image)
        seconds = time.perf_counter() - begin
        if seconds > _SHORTEST or side >= _LARGEST_SIDE:
            return seconds / sum(height * width for height, width in model.tiles(side, side))
        side *= 2


def in_words(seconds: float) -> str:
    """A time, roughly: '40 s', '5 min', '3 h'."""
    if seconds < 100:
        return f'{max(1, round(seconds))} s'
    return f'{seconds / 60:.0f} min' if seconds < 6000 else f'{seconds / 3600:.0f} h'
