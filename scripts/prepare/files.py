"""Files that are whole or not there at all, and results that are there already."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from sst.utils.errors import UserError

_HOST = socket.gethostname()
_UNFINISHED = '.part'
SPARE = 2**28  # bytes that stay free on the disk


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that `path` never holds half of it; see `write_pieces`."""
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file, a piece after the other, so that `path` never holds half of it; makes the folder.

    It is not forced onto the disk, which would cost more than all the rest: after a power failure a file may be empty,
    and whoever looks for finished files takes an empty one for missing.

    Raises:
        UserError: if it cannot be written.
    """
    unfinished = path.with_name(f'.{path.name}.{_HOST}-{os.getpid()}{_UNFINISHED}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, 'wb') as file:
            file.writelines(pieces)
        unfinished.replace(path)
    except OSError as fault:
        raise cannot_write(path, fault) from fault
    finally:
        _remove(unfinished)


def make_folder(folder: Path) -> None:
    """Make a folder, and remove from it what killed runs on this machine left unfinished. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, 'Permission denied')
        for path in folder.glob(f'.*.{_HOST}-*{_UNFINISHED}'):
            process = path.name.removesuffix(_UNFINISHED).rpartition('-')[2]
            if process.isdigit() and not _is_alive(int(process)):
                _remove(path)
    except OSError as fault:
        raise cannot_write(folder, fault) from fault


def cannot_write(path: Path, fault: OSError) -> UserError:
    """The error for a place that cannot be written."""
    return UserError(
        f'cannot write {path}: {fault.strerror or fault}; make room, correct the rights or name another place, then '
        'run the same command again: it goes on'
    )


def require_room(folder: Path, name: str, needed: int) -> None:
    """Raise UserError where a folder's disk has no room for `needed` bytes of what is called `name`."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free - SPARE
    if needed > free:
        raise UserError(
            f'{folder}: {name} needs {needed / 1e9:.1f} GB, unpacked files included, and {free / 1e9:.1f} GB are free; '
            'make room or name another --output'
        )


def refuse_inside(output: Path, source: Path) -> None:
    """Raise UserError where results would lie among the pictures that they are made of."""
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(f'the output {output} lies inside the input {source}; name a folder beside it')


def _is_alive(process: int) -> bool:
    if os.name != 'posix':  # Windows has no such question: `os.kill` would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # in a place that cannot be written there is nothing to remove
        path.unlink(missing_ok=True)
