"""One run of a name at a time."""

import errno
import os
import platform
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sst.utils.errors import UserError
from sst.utils.platforms import HAS_LOCKS, NO_LINK, fcntl
from sst.utils.visible import tell

BEAT = 60.0  # seconds between two signs of life
SILENCE = 600.0  # seconds without one, after which the lock of another machine's process is void
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems that know none


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process. `<parent>/.<name>.lock` names the owner.

    The lock goes with the process, however that ends, and loading processes do not inherit it. A network file system
    may keep the lock of a machine that was lost. So the owner changes the file's time every minute. A lock is void
    after ten minutes without this, unless its owner is a process of this machine that still runs. The same signs of
    life serve file systems without locks.

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
    ended = threading.Event()
    threading.Thread(target=_show_life, args=(path, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if not HAS_LOCKS:
            file.close()  # Windows removes no open file
        path.unlink(missing_ok=True)  # before the lock goes: afterwards it might be somebody else's
        file.close()


def _show_life(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):  # the disk may be away for a while
            os.utime(path)


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
            return fault.errno in (errno.EACCES, errno.EAGAIN) and not _is_void(path, time.time())
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
            unknown = fault.errno in NO_LOCKS
            if unknown and not _holder(path, ''):
                break
            if not unknown and fault.errno not in (errno.EACCES, errno.EAGAIN):
                file.close()
                raise
            file.close()
            if not _is_void(path, _time_there(path.parent)):
                raise BlockingIOError from fault
            tell(
                f'warning: the lock of {_holder(path)} is void, because it has shown no life for {SILENCE / 60:.0f} min'
            )
            path.unlink(missing_ok=True)
            continue
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


def _holder(path: Path, unknown: str = 'another process') -> str:
    try:
        return path.read_text(encoding='utf-8') or unknown
    except OSError:
        return unknown


def _is_void(path: Path, now: float) -> bool:
    """Whether the owner of a lock is gone, though the file system holds the lock still or knows none."""
    owner = re.match(r'process (\d+) on (.*) since ', _holder(path))
    if owner is None or (owner[2] == platform.node() and _runs(int(owner[1]))):
        return False
    try:
        return now - path.stat().st_mtime > SILENCE
    except OSError:
        return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _time_there(folder: Path) -> float:
    """The time of the machine that keeps a folder."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        return os.fstat(probe.fileno()).st_mtime
