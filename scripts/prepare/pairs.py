"""Pictures of a dataset wherever they lie: files in folders, values in LMDB databases."""

from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from prepare.parallel import FileError
from prepare.pictures import SUFFIXES, read_bytes
from sst.data.storage import lmdb_keys, open_lmdb
from sst.utils.errors import UserError

SCALES = (2, 3, 4)
PAIRS = (('HR', 'LR_bicubic', 'x{}'), ('HR_sub', 'LR_bicubic_sub', ''))  # folders, and how LR names end


@dataclass(frozen=True)
class Entry:
    """One picture: a file, or a value of a database."""

    place: Path
    key: str | None = None

    def __str__(self) -> str:
        return str(self.place) if self.key is None else f'{self.place}: {self.key}'

    def read(self) -> bytes:
        """The picture's bytes. Raises FileError where they cannot be read."""
        if self.key is None:
            return read_bytes(self.place)
        # Opened for each picture, which costs little: an open database does not survive the fork of a worker.
        with open_lmdb(str(self.place)) as database, database.begin() as transaction:
            content = transaction.get(self.key.encode())
        if content is None:
            raise FileError(f'{self}: not in the database, but in its meta_info.txt')
        return content


@dataclass
class Part:
    """The HR pictures of a dataset, or its LR pictures of one scale, under the names that pairs share."""

    place: Path
    scale: int = 1
    entries: dict[str, Entry] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass
class Pairs:
    """HR pictures and what LR pictures there are of them."""

    hr: Part
    lr: list[Part]


def find_pairs(dataset: Path) -> list[Pairs]:
    """All pairs of HR and LR in a dataset folder; a folder or database without these names is HR on its own.

    Raises:
        UserError: if there is nothing.
    """
    if not dataset.is_dir():
        raise UserError(f'{dataset}: {"a file, not a folder" if dataset.exists() else "no such folder"}')
    found = []
    for hr, lr, suffix in PAIRS:
        for ending in ('', '.lmdb'):
            place = dataset / f'{hr}{ending}'
            if place.is_dir():
                shrunk = [(dataset / lr / f'X{scale}{ending}', scale) for scale in SCALES]
                names = '' if ending else suffix
                parts = [_list(folder, scale, names.format(scale)) for folder, scale in shrunk if folder.is_dir()]
                found.append(Pairs(_list(place), parts))
    found = found or [Pairs(_list(dataset), [])]
    if not any(pairs.hr.entries for pairs in found):
        raise UserError(f'{dataset}: no pictures in it, nor in HR, HR_sub, HR.lmdb or HR_sub.lmdb below it')
    return found


def _list(place: Path, scale: int = 1, suffix: str = '') -> Part:
    part = Part(place, scale)
    if place.suffix == '.lmdb':
        part.entries = {key: Entry(place, key) for key in _database_keys(part)}
        return part
    for path in sorted(place.iterdir()):
        if path.name.startswith('.') or not path.is_file():
            continue
        if path.suffix.lower() not in SUFFIXES:
            part.faults.append(f'{path}: not a picture, but BasicSR takes all files for pictures')
            continue
        name = path.stem.removesuffix(suffix)
        if not path.stem.endswith(suffix):
            part.faults.append(f'{path}: its name does not end in {suffix}')
        elif name in part.entries:
            part.faults.append(f'{path}: has the name of {part.entries[name]}')
        else:
            part.entries[name] = Entry(path)
    return part


def _database_keys(part: Part) -> list[str]:
    """The keys that meta_info.txt lists, for these are what BasicSR reads."""
    meta = part.place / 'meta_info.txt'
    try:
        listed = lmdb_keys(str(part.place))
        with open_lmdb(str(part.place)) as database:
            stored = database.stat()['entries']
    except (UserError, lmdb.Error) as fault:
        part.faults.append(f'{part.place}: no sound database: {fault}')
        return []
    if len(set(listed)) != stored:
        part.faults.append(f'{meta}: lists {len(set(listed))} pictures, the database holds {stored}')
    return listed
