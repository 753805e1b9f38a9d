"""Downloads datasets and puts their files where the option files look: DIV2K, DIV2K-val, Flickr2K, benchmark, DFLIP.

Archives stay in OUTPUT/archives, each with its SHA-256 beside it; they may be removed once they are unpacked. Run it
again after an interruption: it goes on. Archives fetched by hand are named with --from.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from prepare.archives import ARCHIVES, BY_HAND, HUGGING_FACE, REPOSITORIES, Archive
from prepare.fetch import fetch, get_json, recorded_sum
from prepare.files import write_whole
from prepare.unpack import GROWTH, LEAST, unpack
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ', '.join([*ARCHIVES, *REPOSITORIES])
    parser.add_argument('names', nargs='+', metavar='NAME', help=f'{names}; what to do about {", ".join(BY_HAND)}')
    parser.add_argument('--output', type=Path, default=Path('datasets'), help='folder of the datasets (%(default)s)')
    parser.add_argument('--from', type=Path, nargs='+', default=[], dest='files', metavar='FILE', help='archives here')
    parser.add_argument(
        '--max-unpacked',
        type=float,
        metavar='GB',
        help=f'what an archive may unpack to ({GROWTH} times its size, at least {LEAST / 1e9:g} GB)',
    )
    parser.add_argument('--base-url', help='another server that has the archives under their names')


def run(args: argparse.Namespace) -> None:
    """Download and unpack what is missing.

    Raises:
        UserError: before work starts for names that cannot be downloaded and files that do not belong to them; then for
            what the server, the disk or an archive lacks.
    """
    for name in args.names:
        if name in BY_HAND:
            raise UserError(f'{name} {BY_HAND[name]}')
        if name not in ARCHIVES | REPOSITORIES:
            allowed = [*ARCHIVES, *REPOSITORIES, *BY_HAND]
            raise UserError(f'{name}: allowed are {", ".join(allowed)}{did_you_mean(name, allowed)}')
    if args.base_url and not args.base_url.startswith(('http://', 'https://')):
        raise UserError(f'--base-url {args.base_url}: allowed are addresses that begin with http:// or https://')
    most = None if args.max_unpacked is None else args.max_unpacked * 1e9
    if most is not None and not most > 0:
        raise UserError(f'--max-unpacked {args.max_unpacked}: allowed are numbers above 0')
    by_hand = assign_files(args.files, [archive for name in args.names for archive in ARCHIVES.get(name, ())])
    for name in args.names:
        if name in REPOSITORIES:
            _download_repository(REPOSITORIES[name], args.output / name, args.base_url or HUGGING_FACE)
        for archive in ARCHIVES.get(name, ()):
            if archive.name in by_hand:
                _report(name, archive, unpack(by_hand[archive.name], archive, args.output, most))
            elif not by_hand:  # else the others may follow in another call
                _download_archive(name, archive, args.output, args.base_url, most)


def assign_files(files: Sequence[Path], archives: Sequence[Archive]) -> dict[str, Path]:
    """Files fetched by hand under the names of the archives that they are.

    Raises:
        UserError: for a file that is missing or called otherwise than any of the archives.
    """
    names = [archive.name for archive in archives]
    for file in files:
        if not file.is_file():
            raise UserError(f'--from {file}: no such file')
        if file.name not in names:
            raise UserError(f'--from {file}: its name must be one of {", ".join(names) or "none: it has no archives"}')
    return {file.name: file for file in files}


def _download_archive(name: str, archive: Archive, output: Path, base_url: str | None, most: float | None) -> None:
    file = output / 'archives' / archive.name
    done = file.with_name(f'{file.name}.unpacked')
    if done.is_file() and not file.is_file():
        print(f'{name}, {archive.name}: unpacked before; remove {done} to fetch it again')
        return
    fetch(f'{base_url.rstrip("/")}/{archive.name}' if base_url else archive.url, file)
    _report(name, archive, unpack(file, archive, output, most))
    write_whole(done, b'')


def _report(name: str, archive: Archive, counts: tuple[int, int]) -> None:
    print(f'{name}, {archive.name}: {counts[0]} files unpacked, {counts[1]} there already')


def _download_repository(repository: str, folder: Path, base_url: str) -> None:
    """Bring all files of a dataset repository into `folder`; the folder of its only database becomes HR.lmdb."""
    base = base_url.rstrip('/')
    pages = get_json(f'{base}/api/datasets/{repository}/tree/main?recursive=true')
    sums = {
        entry['path']: (entry.get('lfs') or {}).get('oid')
        for page in pages
        for entry in page
        if entry['type'] == 'file' and not entry['path'].startswith('.')
    }
    databases = [path.rpartition('data.mdb')[0] for path in sums if PurePosixPath(path).name == 'data.mdb']
    for path, expected in sums.items():
        parts = PurePosixPath(path).parts
        if '..' in parts or PurePosixPath(path).is_absolute():
            raise UserError(f'{base}/datasets/{repository}: lists {path}, which would leave {folder}')
        in_database = len(databases) == 1 and path.startswith(databases[0])
        target = folder / 'HR.lmdb' / path.removeprefix(databases[0]) if in_database else folder / path
        fetch(f'{base}/datasets/{repository}/resolve/main/{quote(path)}', target, unpacked=False)
        if expected and recorded_sum(target) != expected:
            raise UserError(f'{target}: has not the checksum {expected} of {repository}; remove it and run again')
    print(f'{folder}: {len(sums)} files of {repository}')
    if not databases:
        print(f'{folder}: no LMDB database among them; unpack what is there and name it in the option file')
