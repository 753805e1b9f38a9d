"""Zip and tar files, put where our layout wants their files."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from prepare.archives import Archive
from prepare.files import make_folder, write_whole
from sst.utils.errors import UserError

# Name, number of bytes, and what reads them.
Member = tuple[str, int, Callable[[], bytes]]


def unpack(file: Path, archive: Archive, output: Path) -> tuple[int, int]:
    """Write the wanted files of `file` below `output`; those that are there in full length are kept.

    Links and other special members are never wanted, and names decide nothing but the last part of a target.

    Returns:
        How many files were written and how many were there.

    Raises:
        UserError: if it is no sound zip or tar file, or holds nothing that is wanted.
    """
    made = kept = 0
    folders = set()
    try:
        for name, size, read in tqdm(_members(file), desc=f'{file.name} unpacked', unit='file', disable=None):
            target = archive.target(name)
            if target is None:
                continue
            path = output / target
            if path.is_file() and path.stat().st_size == size:
                kept += 1
                continue
            if path.parent not in folders:
                make_folder(path.parent)
                folders.add(path.parent)
            write_whole(path, read())
            made += 1
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as fault:
        raise UserError(
            f'{file}: damaged or no archive ({fault}); remove it and its .sha256 and run the same command again'
        ) from fault
    if not made + kept:
        raise UserError(f'{file}: holds none of the files expected, as {archive.rules[0][0]}; is it another archive?')
    return made, kept


def _members(file: Path) -> Iterator[Member]:
    """The regular files in an archive, in its order."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as zipped:
            for member in zipped.infolist():
                if not member.is_dir():
                    yield member.filename, member.file_size, partial(zipped.read, member)
    else:
        with tarfile.open(file) as tar:
            for entry in tar:
                if entry.isreg():
                    yield entry.name, entry.size, partial(_read_entry, tar, entry)


def _read_entry(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(entry)
    assert content is not None  # a regular file
    return content.read()
