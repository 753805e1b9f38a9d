"""The folder of uploads and results. It stays below a limit and is deleted with its program, however that ends."""

import contextlib
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from sst.utils.errors import UserError
from sst.utils.platforms import HAS_LOCKS, NO_LINK, fcntl

_PREFIX = 'sst-demo-'
_MARK = '.sst-demo'  # in our folders; locked as long as the program runs, so that others know it does
_LEAST = 2**16  # bytes that a file counts at least: a million empty ones are much, too
_SPARE = 2**28  # bytes that stay free on the disk


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder of this program. Those that killed programs left are removed."""
    remove_left()
    # What is being written while the program ends is deleted with the rest or cannot be finished.
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        unnamed = Path(name, f'{_MARK}-new')
        with open(unnamed, 'x') as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            if HAS_LOCKS:  # Windows renames no open file
                unnamed.rename(Path(name, _MARK))
            yield Path(name)


def remove_left() -> None:
    """Remove the folders of this user's programs that have ended, which their locks show."""
    if not HAS_LOCKS:
        return
    for folder in Path(tempfile.gettempdir()).glob(f'{_PREFIX}*'):
        with contextlib.suppress(OSError):  # it is another user's, none of ours, or goes at this moment
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                with open(folder / _MARK, 'r+', opener=_no_link) as mark:
                    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError where its program runs
                    shutil.rmtree(folder, ignore_errors=True)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | NO_LINK)


class Storage:
    """Keeps a folder below a number of bytes by deleting its oldest entries.

    Args:
        folder (Path): whose entries these are; those that are there already stay.
        most (int): bytes that all others may take together.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._kept = set(os.listdir(folder))
        self._coming = 0  # bytes of the uploads that are on their way
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def room_for(self, length: int) -> Iterator[None]:
        """Remove the oldest entries until there is room for the `length` bytes that the block writes.

        Raises:
            UserError: too many bytes at once, or no room on the disk.
        """
        with self._lock:
            if self._coming + length > self.most // 2:  # so that nothing is removed that comes just now
                raise UserError('too many pictures are uploaded at once; try again in a minute')
            self._coming += length
        try:
            with self._lock:
                self._make_room(self._coming)
            yield
        finally:
            with self._lock:
                self._coming -= length

    def _make_room(self, needed: int) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total + needed <= self.most:
                break
            _remove(path)
            total -= size
        if shutil.disk_usage(self.folder).free < needed + _SPARE:
            raise UserError('the disk of the computer that runs this page is full; try a smaller picture')

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When an entry was changed, its bytes, and its path."""
        for name in set(os.listdir(self.folder)) - self._kept:
            path = self.folder / name
            with contextlib.suppress(OSError):  # gone meanwhile
                files = [path, *path.rglob('*')]
                yield path.stat().st_mtime, sum(max(_LEAST, file.stat().st_size) for file in files), path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
