"""The first look at a file that is to be read."""

from pathlib import Path

from sst.utils.errors import UserError
from sst.utils.files import one_line


def read_start(path: Path, kind: str, length: int = -1) -> bytes:
    """The first `length` bytes of a file, or all of them; `kind` is what the file should be, as 'an image'.

    Raises:
        UserError: one line that names the file. It is missing, empty, no plain file, or may not be read.
    """
    try:
        if path.is_dir():
            raise UserError(f'{path}: is a folder, not {kind}')
        if path.exists() and not path.is_file():
            raise UserError(f'{path}: is a device or pipe, not {kind}')
        with open(path, 'rb') as file:
            content = file.read(length)
    except FileNotFoundError as fault:
        raise UserError(f'{path}: no such file') from fault
    except PermissionError as fault:
        raise UserError(f'{path}: may not be read; correct its permissions') from fault
    except OSError as fault:
        raise UserError(f'{path}: cannot be read: {one_line(fault)}') from fault
    if not content:
        raise UserError(f'{path}: cannot be read as {kind}; it is empty: fetch or copy it again')
    return content
