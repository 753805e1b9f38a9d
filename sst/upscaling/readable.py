"""Files that are to be read, looked at from outside first."""

from pathlib import Path

from sst.utils.errors import UserError
from sst.utils.files import one_line


def read_start(path: Path, kind: str, length: int = -1) -> bytes:
    """The first bytes of a file, or all of them.

    Args:
        path: of the file.
        kind: what it should be, in a message: 'picture' or 'video'.
        length: bytes; -1 for all.

    Raises:
        UserError: one line that names the file: it is missing, empty, no plain file, or must not be read.
    """
    try:
        if path.is_dir():
            raise UserError(f'{path}: a folder, not a {kind}')
        if not path.exists():
            raise UserError(f'{path}: no such file')
        if not path.is_file():
            raise UserError(f'{path}: a device or pipe, not a {kind} file')
        with open(path, 'rb') as file:
            content = file.read(length)
    except PermissionError as fault:
        raise UserError(f'{path}: no right to read it') from fault
    except OSError as fault:
        raise UserError(f'{path}: cannot be read: {one_line(fault)}') from fault
    if not content:
        raise UserError(f'{path}: cannot be read as a {kind}; it is empty: fetch or copy it again')
    return content
