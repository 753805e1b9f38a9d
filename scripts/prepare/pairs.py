"""The images of a dataset: files in folders, values in LMDB databases."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import lmdb

from prepare import SCALES
from prepare.images import SUFFIXES, read_bytes
from prepare.parallel import FileError
from sst.data.storage import lmdb_keys, open_lmdb
from sst.utils.errors import UserError

FOLDERS = (('HR', 'LR_bicubic', 'x{}'), ('HR_sub', 'LR_bicubic_sub', ''))  # HR, LR and how LR names end


class Entry(NamedTuple):
    """One image: a file, or a value of a database."""

    place: Path
    key: str | None = None

    def __str__(self) -> str:
        return str(self.place) if self.key is None else f'{self.place}: {self.key}'

    def read(self) -> bytes:
        """The bytes of the image. Raises FileError if they cannot be read."""
        if self.key is None:
            return read_bytes(self.place)
        # Opened for each image, which costs little, because an open database does not survive the fork of a worker.
        with open_lmdb(str(self.place)) as database, database.begin() as transaction:
            content = transaction.get(self.key.encode())
        if content is None:
            raise FileError(f'{self}: listed in meta_info.txt, but not in the database')
        return content


@dataclass
class Part:
    """The HR images of a dataset, or its LR images of one scale, under the names that pairs share."""

    place: Path
    scale: int = 1
    entries: dict[str, Entry] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def find_pairs(dataset: Path) -> list[tuple[Part, list[Part]]]:
    """HR and its LR parts in a dataset folder. A folder or database without these names counts as HR alone.

    Raises:
        UserError: there is no image.
    """
    if not dataset.is_dir():
        raise UserError(f'{dataset}: {"a file, not a folder" if dataset.exists() else "no such folder"}')
    found = []
    for hr, lr, suffix in FOLDERS:
        for ending in ('', '.lmdb'):
            place = dataset / f'{hr}{ending}'
            if place.is_dir():
                shrunk = [(dataset / lr / f'X{scale}{ending}', scale) for scale in SCALES]
                names = '' if ending else suffix
                parts = [_list(folder, scale, names.format(scale)) for folder, scale in shrunk if folder.is_dir()]
                found.append((_list(place), parts))
    found = found or [(_list(dataset), [])]
    if not any(hr.entries for hr, _ in found):
        raise UserError(f'{dataset}: holds no images, not in HR, HR_sub, HR.lmdb or HR_sub.lmdb below it either')
    return found


def _list(place: Path, scale: int = 1, suffix: str = '') -> Part:
    part = Part(place, scale)
    if place.suffix == '.lmdb':
        _list_database(part)
        return part
    for path in sorted(place.iterdir()):
        if path.name.startswith('.') or not path.is_file():
            continue
        name = path.stem.removesuffix(suffix)
        if path.suffix.lower() not in SUFFIXES:
            part.faults.append(f'{path}: not an image, but BasicSR takes every file for an image')
        elif not path.stem.endswith(suffix):
            part.faults.append(f'{path}: its name does not end in {suffix}')
        elif name in part.entries:
            part.faults.append(f'{path}: has the same name as {part.entries[name]}')
        else:
            part.entries[name] = Entry(path)
    return part


def _list_database(part: Part) -> None:
    """Take the keys that meta_info.txt lists, because BasicSR reads these."""
    try:
        listed = lmdb_keys(str(part.place))
        with open_lmdb(str(part.place)) as database:
            stored = database.stat()['entries']
    except (UserError, lmdb.Error) as fault:
        part.faults.append(f'{part.place}: damaged database: {fault}')
        return
    if (count := len(set(listed))) != stored:
        part.faults.append(f'{part.place}/meta_info.txt: lists {count} images, but the database holds {stored}')
    part.entries = {key: Entry(part.place, key) for key in listed}
