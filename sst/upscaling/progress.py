"""What is seen of the work while it goes on: bars in a terminal, now and then a line elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from sst.utils.visible import visible

Progress = Callable[[int, int | None, str], None]  # done, of how many, of what
PAUSE = 10.0  # seconds between two lines, at the least


def say(line: str, file: TextIO | None) -> None:
    """Print above the bars, in one piece: several processes may share the file. The work goes on where nobody reads."""
    if file is None:  # closed when the program was started
        return
    try:
        with tqdm.external_write_mode(file=file):
            file.write(f'{visible(line)}\n')
            file.flush()
    except OSError:  # a pipe that was closed, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


class Display:
    """The progress over all files and in each.

    Args:
        total (int): files.
        shown (bool): whether this process is the one that shows it.
    """

    def __init__(self, total: int, shown: bool) -> None:
        self.shown, self.last = shown, time.monotonic()
        self.bars = shown and sys.stderr is not None and sys.stderr.isatty()
        self.files = tqdm(total=total, unit='file', disable=not self.bars, smoothing=0, dynamic_ncols=True)

    @contextmanager
    def file(self, name: str) -> Iterator[Progress]:
        """The progress in one file: a bar from the second of its tiles or frames on."""
        self.files.set_description(visible(name)[:30])
        bar: tqdm | None = None

        def progress(done: int, total: int | None, unit: str) -> None:
            nonlocal bar
            if not self.bars:
                self._tell(f'{name}: {unit} {done}{f" of {total}" if total else ""}')
            elif total != 1:
                if bar is None:
                    bar = tqdm(total=total, unit=unit, leave=False, position=1, dynamic_ncols=True)
                bar.update(done - bar.n)

        try:
            yield progress
        finally:
            if bar is not None:
                bar.close()
            self.files.update()

    def _tell(self, line: str) -> None:
        if self.shown and time.monotonic() - self.last >= PAUSE:
            self.last = time.monotonic()
            say(line, sys.stderr)

    def __enter__(self) -> 'Display':
        return self

    def __exit__(self, *_: object) -> None:
        self.files.close()
