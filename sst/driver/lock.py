"""One run of a name at a time."""

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sst.utils.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems that know none


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run's folder for this process; `<parent>/.<name>.lock` says who has it.

    The lock goes with the process, however that ends, and loading processes do not inherit it.

    Raises:
        UserError: another process has it, or nothing can be written there.
    """
    path = folder.with_name(f'.{folder.name}.lock')
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = _take(path)
        if os.path.lexists(folder) and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, 'no right to write', str(folder))
    except BlockingIOError as fault:
        raise UserError(
            f'{folder} is in use by {_holder(path)}; wait until that ends or stop it, or give this run another name: '
            '--force_yml name=NAME'
        ) from fault
    except OSError as fault:
        raise UserError(
            f'cannot write {fault.filename or path}: {fault.strerror}; the files of the run go to {folder}, which must '
            'be a folder that this user may write'
        ) from fault
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes: afterwards it might be somebody else's
        file.close()


def _take(path: Path) -> IO[str]:
    while True:
        file = open(path, 'a+', encoding='utf-8')  # noqa: SIM115 - the lock lasts as long as it is open
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


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8') or 'another process'
    except OSError:
        return 'another process'
