"""Where pictures lie: folders and LMDB databases, any number of them as one list."""

import codecs
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import lmdb
import numpy as np

from sst.data.encoded_image import EncodedImage
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS

TOUCH_ALL = """\
import lmdb, sys
with lmdb.open(sys.argv[1], readonly=True, lock=False).begin(buffers=True) as transaction:
    for key, value in transaction.cursor():
        bytes(value[-1:])
"""
SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.jp2')
_ENDING = '|'.join(re.escape(suffix) for suffix in SUFFIXES)
# A line of a list: a name with (height,width,channels) behind it, or one that ends as pictures do.
_NAME = re.compile(rf'.*(?=\s\(\d+,\s?\d+,\s?\d+\))|.*(?i:{_ENDING})(?=\s|$)')


class ImageFiles:
    """The pictures of several roots, one root after the other.

    Their names are one array of bytes: half a million take some 20 MB, which loading processes share.

    Args:
        parts: (root, names) of each; a root that ends in `.lmdb` is a database and the names its keys, any other is
            a folder and the names are paths in it.
        megapixels: million pixels that a picture may have.

    Raises:
        UserError: a root without pictures.
    """

    def __init__(self, parts: Iterable[tuple[str, list[str]]], megapixels: float = MEGAPIXELS) -> None:
        parts, self.megapixels = list(parts), megapixels
        self.roots = [root for root, _ in parts]
        if empty := [root for root, names in parts if not names]:
            raise UserError(f'no pictures in {", ".join(empty)}; put some there, or name another place')
        self._ends = np.cumsum([len(names) for _, names in parts])
        self._names = np.array([os.fsencode(name) for _, names in parts for name in names], dtype=bytes)

    def __len__(self) -> int:
        return len(self._names)

    def place(self, index: int) -> tuple[str, str]:
        """(root, name) of a picture."""
        return self.roots[np.searchsorted(self._ends, index, side='right')], os.fsdecode(self._names[index])

    def path(self, index: int) -> str:
        """What BasicSR calls the path of a picture: that of its file, or its key in the database."""
        root, name = self.place(index)
        return name if is_lmdb(root) else str(Path(root, name))

    def open(self, index: int) -> EncodedImage:
        """Read a picture's bytes.

        Raises:
            UserError: it is not there or cannot be read.
        """
        root, name = self.place(index)
        shown = os.path.join(root, name)
        try:
            content = _entry(root, name) if is_lmdb(root) else Path(shown).read_bytes()
        except OSError as fault:
            raise UserError(f'picture {shown} cannot be read: {fault.strerror}') from fault
        if content is None:
            raise UserError(f'picture {shown} cannot be read: its key is in meta_info.txt, not in the database')
        return EncodedImage(content, shown, self.megapixels)


def is_lmdb(root: str) -> bool:
    """Whether a root is an LMDB database; its name tells."""
    return root.endswith('.lmdb')


def images_below(root: str) -> list[str]:
    """The names of all pictures of a database, or of a folder and its subfolders, in order."""
    return lmdb_keys(root) if is_lmdb(root) else sorted(_files_below(root))


def lmdb_keys(root: str) -> list[str]:
    """The keys of a database of BasicSR's kind, in order: the names of its `meta_info.txt` without extension."""
    return sorted(os.path.splitext(name)[0] for name in listed_names(os.path.join(root, 'meta_info.txt')))


def listed_names(file: str) -> list[str]:
    """The names in a list of pictures, whose lines are `a/0001.png (480,480,3) 1`; size and level may be left out.

    Raises:
        UserError: a list that cannot be read, that is no Unicode text, or a line without a name.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as fault:
        raise UserError(f'{file}: cannot be read: {fault.strerror}') from fault
    encoding = 'utf-16' if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 'utf-8-sig'
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:  # UTF-16 without a mark at its start
        raise UserError(
            f'{file}: is neither UTF-8 nor UTF-16 text; save it as UTF-8 in an editor, or make it anew: python '
            'scripts/prepare_data.py meta --help'
        )
    lines = [line for line in io.StringIO(text, newline=None) if line.strip()]
    found = [_NAME.match(line) for line in lines]
    wrong = next((line.strip()[:80] for line, match in zip(lines, found, strict=True) if not match), None)
    if wrong or not lines:
        what = f'the line {wrong!r} names' if wrong else 'names'
        raise UserError(f'{file}: {what} no picture; a line for each one is needed: NAME.png (480,480,3)')
    names = [match[0] for match in found if match]
    if outside := next((name for name in names if leaves_folder(name)), None):
        raise UserError(f'{file}: the name {outside[:80]!r} leads out of the folder of the pictures; correct the list')
    return names


def leaves_folder(name: str) -> bool:
    """Whether a name in a list, or a template of names, leads out of the folder that it is looked for in."""
    parts = re.split(r'[/\\]', name)
    return not parts[0] or '..' in parts or parts[0].endswith(':')


def file_names(folder: str) -> list[str]:
    """The names of the files right in a folder, in order; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith('.'))


def _files_below(folder: str) -> Iterator[str]:
    seen = set()
    for place, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links may lead in circles
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith('.')]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith('.'):
                yield os.path.relpath(os.path.join(place, name), folder).replace(os.sep, '/')


def lmdb_damage(root: str) -> str | None:
    """Why a database cannot be read, as far as opening it tells."""
    try:
        _database(root)
    except (lmdb.Error, OSError) as fault:
        return f'cannot be read: {fault}'
    return None


def _entry(root: str, key: str) -> bytes | None:
    try:
        with _database(root).begin() as transaction:
            return transaction.get(key.encode())
    except lmdb.Error as fault:
        remedy = 'copy or make it again, or use the folder it was made from'
        raise UserError(f'{root} cannot be read: {fault}; {remedy}') from fault


def open_lmdb(root: str) -> lmdb.Environment:
    """Open a database to read it. Raises `lmdb.Error` if it is not one, or a part of it is missing."""
    # Samples come in random order: no reading ahead. Nobody writes: no lock.
    database = lmdb.open(root, readonly=True, lock=False, readahead=False, meminit=False)
    page = database.stat()['psize']
    needed, there = (database.info()['last_pgno'] + 1) * page, os.path.getsize(os.path.join(root, 'data.mdb'))
    if there < needed and (there % page or not _is_readable(root)):
        database.close()
        raise lmdb.CorruptedError(f'data.mdb is cut off: of {needed:,} bytes {there:,} are there')
    return database


def _is_readable(root: str) -> bool:
    """Try all pages of a database in another process, which SIGBUS ends where one is missing.

    Where pictures were removed, the last pages may be free and were never written.
    """
    return subprocess.run([sys.executable, '-c', TOUCH_ALL, root], capture_output=True, check=False).returncode == 0


_database = cache(open_lmdb)
if hasattr(os, 'register_at_fork'):  # Windows has no fork, which an open database must not cross
    os.register_at_fork(after_in_child=_database.cache_clear)
