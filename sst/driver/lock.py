"""One run of a name at a time."""

import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sst.utils.errors import UserError
from sst.utils.platforms import HAS_LOCKS, NO_LINK, fcntl

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems that know none


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process. `<parent>/.<name>.lock` names the owner.

    The lock goes with the process, however that ends, and loading processes do not inherit it.

    Raises:
        UserError: another process has it, or nothing can be written there.
    """
    path = folder.with_name(f'.{folder.name}.lock')
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = _take(path)
        if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise PermissionError(0, 'no right to write' if folder.is_dir() else 'it is a file', str(folder))
    except BlockingIOError as fault:
        raise UserError(_in_use(folder, path)) from fault
    except OSError as fault:
        raise UserError(
            f'cannot write {fault.filename or path}: {fault.strerror}; the files of the run go to {folder}, which must '
            'be a folder that this user may write'
        ) from fault
    try:
        yield
    finally:
        if not HAS_LOCKS:
            file.close()  # Windows removes no open file
        path.unlink(missing_ok=True)  # before the lock goes: afterwards it might be somebody else's
        file.close()


def require_unlocked(folder: Path) -> None:
    """Raise `UserError` if `locked` would. Writes nothing."""
    path = folder.with_name(f'.{folder.name}.lock')
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = 'no right to write' if existing.is_dir() else 'it is a file'
        raise UserError(f'cannot write {existing}: {reason}; the files of the run go to {folder}')
    if path.exists() and _is_taken(path):
        raise UserError(_in_use(folder, path))


def _is_taken(path: Path) -> bool:
    with open(path, 'r+', encoding='utf-8', opener=_no_link) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            return fault.errno in (errno.EACCES, errno.EAGAIN)
    return False


def _in_use(folder: Path, path: Path) -> str:
    return (
        f'{folder} is in use by {_holder(path)}; wait until that ends or stop it, or give this run another name: '
        '--force_yml name=NAME'
    )


def _take(path: Path) -> IO[str]:
    while True:
        file = open(path, 'a+', encoding='utf-8', opener=_no_link)  # noqa: SIM115 - the lock lasts as long as it is open
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break  # else its former owner has just taken it away
        except OSError as fault:
            if fault.errno in NO_LOCKS:
                break
            file.close()
            if fault.errno in (errno.EACCES, errno.EAGAIN):
                raise BlockingIOError from fault
            raise
        file.close()
    file.truncate(0)
    file.write(f'process {os.getpid()} on {platform.node()} since {time.strftime("%Y-%m-%d %H:%M:%S")}')
    file.flush()
    return file


def _no_link(path: str, flags: int) -> int:
    """Open a file, but never follow a link, because somebody else may have put it there."""
    try:
        return os.open(path, flags | NO_LINK, 0o666)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise UserError(f'{path} must be a file, but it is a link; remove it') from fault
        raise


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8') or 'another process'
    except OSError:
        return 'another process'
