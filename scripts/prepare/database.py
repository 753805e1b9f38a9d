"""One LMDB database of the pictures of one or more folders, as BasicSR reads it (io_backend: type: lmdb).

The bytes of the files go in as they are, nothing is encoded again. A key is the file's name without extension and
without --suffix: BasicSR wants equal keys in the HR and LR databases. It is built in OUTPUT.part, which gets its name
when it is whole; run it again after an interruption: what is stored is kept.
"""

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
from filelock import FileLock, Timeout
from tqdm import tqdm

from prepare import parallel
from prepare.files import cannot_write, refuse_inside
from prepare.parallel import Faults, FileError
from prepare.pictures import by_stem, decode_picture, decode_shape, list_pictures, read_bytes
from sst.utils.errors import UserError

LONGEST_KEY = 511  # bytes; LMDB's limit
BATCH = 64 * 2**20  # bytes that are written at once
PAGE = 4096
ROOM = 1.1  # for the tree above the values
META = 'meta_info.txt'
HEADER = 2**16  # bytes of a picture in which its size stands; where not, all of it is looked at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, nargs='+', required=True, help='folders of pictures')
    parser.add_argument('--output', type=Path, required=True, help='database to make, NAME.lmdb')
    parser.add_argument('--suffix', default='', help='end of all file names that the keys leave out, as x2')
    parser.add_argument('--verify', action='store_true', help='decode each picture whole, not just its header')
    parallel.add_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Make the database, or go on with it.

    Raises:
        UserError: before work starts for names that BasicSR cannot read and a finished database of other pictures;
            after it for all pictures that failed (then the database stays unfinished).
    """
    if args.output.suffix != '.lmdb':
        raise UserError(f'--output {args.output}: allowed is a name that ends in .lmdb; BasicSR reads no other')
    for folder in args.input:
        refuse_inside(args.output, folder)
    sources = by_stem(path for folder in args.input for path in list_pictures(folder))
    sizes = {make_key(stem, path, args.suffix): (path, path.stat().st_size) for stem, path in sources.items()}
    if args.output.exists():
        _compare_finished(args.output, sizes)
        print(f'{args.output}: {len(sizes)} pictures, there already')
        return
    unfinished = args.output.with_name(f'{args.output.name}.part')
    with _building(unfinished):
        stored = build(unfinished, sizes, args.jobs, verify=args.verify)
        os.replace(unfinished, args.output)
    print(f'{args.output}: {len(sizes)} pictures, {stored} of them stored now')


def make_key(stem: str, path: Path, suffix: str) -> str:
    """The key of a picture. Raises UserError for names that BasicSR or LMDB cannot take as one."""
    if not stem.endswith(suffix) or stem == suffix:
        raise UserError(f'{path}: its name does not end in {suffix} as --suffix says')
    key = stem.removesuffix(suffix)
    if not key.isascii() or '.' in key or len(key) > LONGEST_KEY:
        raise UserError(
            f'{path}: BasicSR reads keys of ASCII characters without dot, of up to {LONGEST_KEY} characters; rename it'
        )
    return key


@contextlib.contextmanager
def _building(folder: Path) -> Iterator[None]:
    """Hold the folder so that no second run builds in it."""
    lock = FileLock(folder.with_name(f'.{folder.name}.lock'), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as fault:
        raise UserError(f'{folder}: another run is building it; wait for it') from fault
    except OSError as fault:
        raise cannot_write(folder, fault) from fault
    try:
        yield
    finally:
        if os.name == 'posix':  # elsewhere an open file cannot be removed
            os.unlink(lock.lock_file)
        lock.release()


def build(folder: Path, sizes: dict[str, tuple[Path, int]], workers: int, *, verify: bool) -> int:
    """Store what is missing of key -> (file, bytes) in the database `folder`; returns how many pictures that were.

    Raises:
        UserError: if there is no room, if the database cannot be written, or for all pictures that cannot be read.
    """
    needed = round(ROOM * sum(-(-(size + 16) // PAGE) * PAGE for _, size in sizes.values()))
    there = sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise UserError(
            f'{folder}: needs {(needed - there) / 1e9:.1f} GB more, there are {free / 1e9:.1f} GB; make room'
        )
    faults = Faults()
    with _open(folder, map_size=needed + BATCH, lock=False) as database:
        stored = _keep_same(database, sizes)
        jobs = [(key, path) for key, (path, _) in sorted(sizes.items()) if key not in stored]
        contents = parallel.run_jobs(partial(load, verify=verify), jobs, 'pictures stored', workers, faults)
        for batch in _in_batches(contents):
            _write(database, batch)
        faults.raise_all(f'the others are stored in {folder}; mend these and run the same command again')
        try:
            _write_meta(folder / META, database)
        except OSError as fault:
            raise cannot_write(folder / META, fault) from fault
    return len(jobs)


def load(job: tuple[str, Path], *, verify: bool) -> tuple[str, bytes]:
    """The key and the bytes of a picture. Raises FileError if its header or, with `verify`, its pixels are broken."""
    key, path = job
    content = read_bytes(path)
    decode_shape(content, str(path))
    if verify:
        decode_picture(content, str(path))
    return key, content


@contextlib.contextmanager
def _open(folder: Path, **options: Any) -> Iterator[lmdb.Environment]:
    try:
        database = lmdb.open(str(folder), **options)
        with contextlib.closing(database):
            yield database
    except lmdb.DiskError as fault:
        raise UserError(f'{folder}: {fault}; make room and run the same command again: it goes on') from fault
    except lmdb.Error as fault:
        raise UserError(f'{folder}: no sound database ({fault}); remove it and run the same command again') from fault


def _lengths(database: lmdb.Environment) -> Iterator[tuple[str, int]]:
    """Keys and the bytes of their values, without reading these."""
    with database.begin(buffers=True) as transaction:
        for key, value in transaction.cursor():
            yield bytes(key).decode(), len(value)


def _keep_same(database: lmdb.Environment, sizes: dict[str, tuple[Path, int]]) -> set[str]:
    """Remove the pictures that changed since they were stored, or are gone; returns the keys of the others."""
    lengths = dict(_lengths(database))
    same = {key for key, length in lengths.items() if key in sizes and sizes[key][1] == length}
    with database.begin(write=True) as transaction:
        for key in lengths.keys() - same:
            transaction.delete(key.encode())
    return same


def _compare_finished(folder: Path, sizes: dict[str, tuple[Path, int]]) -> None:
    expected = {key: size for key, (_, size) in sizes.items()}
    with _open(folder, readonly=True, lock=False) as database:
        found = dict(_lengths(database))
    if found != expected:
        different = min(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise UserError(f'{folder}: there already with other pictures, as {different}; remove it, or name another')


def _in_batches(contents: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    weight = 0
    for key, content in contents:
        batch.append((key, content))
        weight += len(content)
        if weight >= BATCH:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _write(database: lmdb.Environment, batch: list[tuple[str, bytes]]) -> None:
    """Store pictures for good: all of them or, if this is interrupted, none."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, content in batch:
                    transaction.put(key.encode(), content)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()['map_size'])


def _write_meta(path: Path, database: lmdb.Environment) -> None:
    """A line `key.png (h,w,c) 1` for each picture, as BasicSR's own tool writes; the level at its end is not read."""
    with open(path, 'w', encoding='utf-8') as file, database.begin(buffers=True) as transaction:
        count = transaction.stat()['entries']
        for key, value in tqdm(transaction.cursor(), desc=META, total=count, unit='picture', disable=None):
            name = bytes(key).decode()
            try:
                shape = decode_shape(bytes(value[:HEADER]), name)
            except FileError:
                shape = decode_shape(bytes(value), name)
            file.write('{}.png ({},{},{}) 1\n'.format(name, *shape))
