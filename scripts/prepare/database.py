"""Stores the images of one or more folders in an LMDB database for BasicSR (io_backend: type: lmdb).

The bytes of the files are stored without encoding them again. A key is the file's name without extension and without
--suffix, because BasicSR needs equal keys in the HR and LR databases. The database is built in OUTPUT.part and renamed
when it is complete. After an interruption, run the same command again: stored images are kept.
"""

import argparse
import contextlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
from filelock import FileLock, Timeout
from tqdm import tqdm

from prepare import parallel
from prepare.files import cannot_write, refuse_inside
from prepare.images import by_stem, decode_image, decode_shape, list_images, read_bytes
from prepare.parallel import FileError
from sst.utils.errors import UserError

LONGEST_KEY = 511  # bytes; LMDB's limit
PAGE = 4096
ROOM = 1.1  # for the tree above the values
SPARE = 2**26  # bytes
META = 'meta_info.txt'
HEADER = 2**16  # bytes of an image that usually hold its size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--input', type=Path, nargs='+', required=True, help='folders of images')
    add('--output', type=Path, required=True, help='database to make, NAME.lmdb')
    add('--suffix', default='', help='end of all file names that keys omit, for example x2')
    add('--verify', action='store_true', help='decode each image completely, not only its header')
    parallel.add_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Make the database, or continue with it.

    Raises:
        UserError: before work starts for names that BasicSR cannot read and a finished database of other images; at the
            end for all images that failed (the database then stays unfinished).
    """
    if args.output.suffix != '.lmdb':
        raise UserError(f'--output {args.output}: must end in .lmdb, because BasicSR reads no other name')
    for folder in args.input:
        refuse_inside(args.output, folder)
    sources = by_stem(path for folder in args.input for path in list_images(folder))
    sizes = {make_key(stem, path, args.suffix): (path, path.stat().st_size) for stem, path in sources.items()}
    if args.output.exists():
        _compare_finished(args.output, sizes)
        print(f'{args.output}: {len(sizes)} images, complete already')
        return
    unfinished = args.output.with_name(f'{args.output.name}.part')
    with _locked(unfinished):
        stored = build(unfinished, sizes, args.jobs, verify=args.verify)
        os.replace(unfinished, args.output)
    print(f'{args.output}: {len(sizes)} images, {stored} of them stored now')


def make_key(stem: str, path: Path, suffix: str) -> str:
    """The key of an image. Raises UserError for names that BasicSR or LMDB cannot use as one."""
    if not stem.endswith(suffix) or stem == suffix:
        raise UserError(f'{path}: its name does not end in {suffix}; rename it or change --suffix')
    key = stem.removesuffix(suffix)
    if not key.isascii() or '.' in key or len(key) > LONGEST_KEY:
        raise UserError(
            f'{path}: a key must be at most {LONGEST_KEY} ASCII characters without a dot, or BasicSR cannot read it; '
            'rename the file'
        )
    return key


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs from building in it."""
    lock = FileLock(folder.with_name(f'.{folder.name}.lock'), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as fault:
        raise UserError(f'{folder}: another run is building it; wait until it ends') from fault
    except OSError as fault:
        raise cannot_write(folder, fault) from fault
    try:
        yield
    finally:
        if os.name == 'posix':  # other systems cannot remove an open file
            os.unlink(lock.lock_file)
        lock.release()


def build(folder: Path, sizes: dict[str, tuple[Path, int]], workers: int, *, verify: bool) -> int:
    """Store what is missing of key -> (file, bytes) in the database `folder`; return how many images that were.

    Raises:
        UserError: the disk has no room, the database cannot be written, or images cannot be read.
    """
    needed = round(ROOM * sum(-(-(size + 16) // PAGE) * PAGE for _, size in sizes.values()))
    missing = needed - sum(path.stat().st_size for path in folder.iterdir())
    if missing > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f'{folder}: needs {missing / 1e9:.1f} GB more, but {free / 1e9:.1f} GB are free; free some space'
        )
    faults: list[str] = []
    # Without waiting for the disk after each image. Only a crash of the whole system can then damage the database.
    with _opened(folder, map_size=needed + SPARE, lock=False, sync=False) as database:
        stored = _keep_same(database, sizes)
        jobs = [(key, path) for key, (path, _) in sorted(sizes.items()) if key not in stored]
        for key, content in parallel.run_jobs(partial(load, verify=verify), jobs, 'images stored', workers, faults):
            _put(database, key, content)
        database.sync(True)
        parallel.raise_faults(faults, f'all others are stored in {folder}; fix these and run the same command again')
        try:
            _write_meta(folder / META, database)
        except OSError as fault:
            raise cannot_write(folder / META, fault) from fault
    return len(jobs)


def load(job: tuple[str, Path], *, verify: bool) -> tuple[str, bytes]:
    """The key and the bytes of an image. Raises FileError if its header or, with `verify`, its pixels are broken."""
    key, path = job
    content = read_bytes(path)
    decode_shape(content, str(path))
    if verify:
        decode_image(content, str(path))
    return key, content


@contextlib.contextmanager
def _opened(folder: Path, **options: Any) -> Iterator[lmdb.Environment]:
    try:
        with contextlib.closing(lmdb.open(str(folder), **options)) as database:
            yield database
    except lmdb.DiskError as fault:
        raise UserError(f'{folder}: {fault}; free some space and run the same command again to continue') from fault
    except lmdb.Error as fault:
        raise UserError(f'{folder}: damaged database ({fault}); remove it and run the same command again') from fault


def _lengths(database: lmdb.Environment) -> dict[str, int]:
    """Keys and the bytes of their values, without reading the values."""
    with database.begin(buffers=True) as transaction:
        return {bytes(key).decode(): len(value) for key, value in transaction.cursor()}


def _keep_same(database: lmdb.Environment, sizes: dict[str, tuple[Path, int]]) -> set[str]:
    """Remove images whose file has changed or is gone since they were stored; return the keys of the others."""
    lengths = _lengths(database)
    same = {key for key, length in lengths.items() if key in sizes and sizes[key][1] == length}
    with database.begin(write=True) as transaction:
        for key in lengths.keys() - same:
            transaction.delete(key.encode())
    return same


def _compare_finished(folder: Path, sizes: dict[str, tuple[Path, int]]) -> None:
    expected = {key: size for key, (_, size) in sizes.items()}
    with _opened(folder, readonly=True, lock=False) as database:
        found = _lengths(database)
    if found != expected:
        different = min(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise UserError(
            f'{folder}: exists with other images, for example {different}; remove it or choose another name'
        )


def _put(database: lmdb.Environment, key: str, content: bytes) -> None:
    """Store an image; make the database larger if it is full."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                transaction.put(key.encode(), content)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()['map_size'])


def _write_meta(path: Path, database: lmdb.Environment) -> None:
    """A line `key.png (h,w,c) 1` for each image, as BasicSR writes it. Nothing reads the last number."""
    with open(path, 'w', encoding='utf-8') as file, database.begin(buffers=True) as transaction:
        count = transaction.stat()['entries']
        for key, value in tqdm(transaction.cursor(), desc=META, total=count, unit='image', disable=None):
            name = bytes(key).decode()
            try:
                shape = decode_shape(bytes(value[:HEADER]), name)
            except FileError:
                shape = decode_shape(bytes(value), name)
            file.write('{}.png ({},{},{}) 1\n'.format(name, *shape))
