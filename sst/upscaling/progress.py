"""How the progress is shown: as bars in a terminal, elsewhere as a line now and then."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from sst.utils.visible import visible

Progress = Callable[[int, int | None, str], None]  # called with how many are done, how many there are, and the unit
PAUSE = 10.0  # seconds between two lines, at least


def say(line: str, file: TextIO | None) -> None:
    """Print a line above the bars, in one write because several processes may share the file.

    Nobody may read it: then the work still goes on.
    """
    if file is None:  # it was closed when the program was started
        return
    try:
        with tqdm.external_write_mode(file=file):
            file.write(f'{visible(line)}\n')
            file.flush()
    except OSError:  # a closed pipe, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


class Display:
    """The progress over all files and within each.

    Args:
        total (int): number of files.
        shown (bool): whether this process is the one that shows it.
    """

    def __init__(self, total: int, shown: bool) -> None:
        self.shown, self.last = shown, time.monotonic()
        self.bars = shown and sys.stderr is not None and sys.stderr.isatty()
        self.files = tqdm(total=total, unit='file', disable=not self.bars, smoothing=0, dynamic_ncols=True)

    @contextmanager
    def file(self, name: str) -> Iterator[Progress]:
        """The progress in one file. A bar appears with the second tile or frame."""
        self.files.set_description(visible(name)[:30])
        bar: tqdm | None = None

        def progress(done: int, total: int | None, unit: str) -> None:
            nonlocal bar
            if self.bars and total != 1:
                if bar is None:
                    bar = tqdm(total=total, unit=unit, leave=False, position=1, dynamic_ncols=True)
                bar.update(done - bar.n)
            elif self.shown and not self.bars and time.monotonic() - self.last >= PAUSE:
                self.last = time.monotonic()
                say(f'{name}: {unit} {done}{f" of {total}" if total else ""}', sys.stderr)

        try:
            yield progress
        finally:
            if bar is not None:
                bar.close()
            self.files.update()

    def __enter__(self) -> 'Display':
        return self

    def __exit__(self, *_: object) -> None:
        self.files.close()
