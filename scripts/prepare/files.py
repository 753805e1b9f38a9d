"""Files that are either complete or absent, and checks of folders and disks."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from sst.utils.errors import UserError

SPARE = 2**28  # bytes that stay free on the disk


def write_file(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file piece by piece, and make its folder. The file gets its name when it is complete.

    It is not forced onto the disk, which would take longer than all other work. After a power failure a file may be
    empty, so code that looks for finished files must treat an empty one as missing.

    Raises:
        UserError: the file cannot be written.
    """
    unfinished = path.with_name(f'.{path.name}.part')  # always the same, so that the next run replaces a killed one's
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(unfinished, 'wb') as file:
                file.writelines(pieces)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as fault:
        raise cannot_write(path, fault) from fault


def cannot_write(path: Path, fault: OSError) -> UserError:
    """The error for a file or folder that cannot be written."""
    return UserError(
        f'{path}: cannot be written ({fault.strerror or fault}); free some space, correct the permissions or choose '
        'another folder, then run the same command again to continue'
    )


def require_room(folder: Path, name: str, needed: int) -> None:
    """Raise UserError if the disk of a folder has no room for the `needed` bytes of `name`."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free - SPARE
    if needed > free:
        raise UserError(
            f'{folder}: {name} needs {needed / 1e9:.1f} GB including unpacked files, but {free / 1e9:.1f} GB are free; '
            'free some space or choose another --output'
        )


def refuse_inside(output: Path, source: Path) -> None:
    """Raise UserError if the results would be written among the images that they are made from."""
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(f'{output}: is inside the input {source}; choose a folder outside it')
