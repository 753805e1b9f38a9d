"""Unpacks the files of zip and tar archives into our layout."""

import math
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from prepare.archives import Archive
from prepare.files import require_room, write_file
from sst.utils.errors import UserError

PIECE = 2**20  # bytes
# How much an archive may unpack to by default. Images are compressed already, so they hardly grow.
GROWTH, LEAST = 10, 10**9


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    size: int  # bytes, as the archive claims
    open: Callable[[], IO[bytes] | None]


def unpack(file: Path, archive: Archive, output: Path, most: float | None = None) -> tuple[int, int]:
    """Write the wanted files of `file` below `output`; those that exist in full length are kept.

    Links and other special members are never wanted, and a member's name decides only the last part of its target.

    Args:
        file: The zip or tar file.
        archive: What it should be.
        output: The folder of the datasets.
        most: Bytes that may be written; None for `GROWTH` times the size of the file.

    Returns:
        How many files were written and how many existed.

    Raises:
        UserError: it is not an intact zip or tar file, holds nothing that is wanted, or would write too much. Nothing
            is written then, unless the content of a member is damaged.
    """
    try:
        with _opened(file) as opened:
            wanted = {output / target: each for each in _members(opened) if (target := archive.target(each.name))}
            missing = {path: each for path, each in wanted.items() if not _exists(path, each.size)}
            needed = sum(each.size for each in missing.values())
            allowed = max(LEAST, GROWTH * file.stat().st_size) if most is None else most
            if needed > allowed:
                raise UserError(
                    f'{file}: would unpack to {needed / 1e9:.3g} GB, but the limit is {allowed / 1e9:.3g} GB; if it is '
                    f'the right file, use --max-unpacked {math.ceil(needed / 1e9)}'
                )
            require_room(output, file.name, needed)
            for path, each in tqdm(missing.items(), desc=f'unpacking {file.name}', unit='file', disable=None):
                write_file(path, _pieces(each))
    except UserError:
        raise
    except PermissionError as fault:
        raise UserError(f'{fault.filename or file}: {fault.strerror}; correct the permissions') from fault
    except Exception as fault:  # damaged archives make zipfile and tarfile raise anything
        said = ' '.join(str(fault).split()) or type(fault).__name__
        raise UserError(
            f'{file}: damaged or not an archive ({said}); remove it and its .sha256 and run the same command again'
        ) from fault
    if not wanted:
        raise UserError(f'{file}: holds no file like {archive.rules[0][0]}; use the right archive')
    return len(missing), len(wanted) - len(missing)


def _opened(file: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(file) if zipfile.is_zipfile(file) else tarfile.open(file)


def _members(archive: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    """The regular files in an archive, in its order."""
    if isinstance(archive, zipfile.ZipFile):
        for member in archive.infolist():
            if not member.is_dir():
                yield Member(member.filename, member.file_size, partial(archive.open, member))
        return
    for entry in archive:
        if entry.size < 0:
            raise tarfile.ReadError(f'a file of {entry.size} bytes')  # some versions of tarfile would loop forever
        if entry.isreg():
            yield Member(entry.name, entry.size, partial(archive.extractfile, entry))
    _require_end(archive)


def _require_end(archive: tarfile.TarFile) -> None:
    """Raise tarfile.ReadError unless an archive that was read to its end has a mark there.

    tarfile takes a damaged head of a member, and a file that is cut off between two members, for the end.
    """
    content = archive.fileobj
    assert content is not None
    content.seek(archive.offset)
    if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f'it ends in the middle, after {archive.offset} bytes')
    while content.read(PIECE):  # of a compressed archive, the checksum at the end of the file is compared then
        pass


def _exists(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _pieces(member: Member) -> Iterator[bytes]:
    """The content of a member, at most as long as the archive claims. Raises tarfile.ReadError if it is shorter."""
    left = member.size
    try:
        content = member.open()
        assert content is not None  # a regular file
        with content:
            while left and (piece := content.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
    except OSError as fault:  # about the archive; an error of the file that is written has another meaning
        raise tarfile.ReadError(str(fault)) from fault
    if left:
        raise tarfile.ReadError(f'{member.name} ends after {member.size - left} of {member.size} bytes')
