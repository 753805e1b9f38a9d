"""Downloads datasets and unpacks them where the option files look: DIV2K, DIV2K-val, Flickr2K, benchmark, DFLIP.

Archives stay in OUTPUT/archives, each with its SHA-256 beside it; they may be removed after they are unpacked. After an
interruption, run the same command again: it continues. Use --from for archives that were downloaded by hand.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from prepare.archives import ARCHIVES, BY_HAND, HUGGING_FACE, REPOSITORIES, Archive
from prepare.fetch import fetch, get_json, recorded_sum
from prepare.files import write_file
from prepare.unpack import GROWTH, LEAST, unpack
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    names = f'{", ".join([*ARCHIVES, *REPOSITORIES])}; for {", ".join(BY_HAND)} it says what to do'
    add('names', nargs='+', metavar='NAME', help=names)
    add('--output', type=Path, default=Path('datasets'), help='folder of the datasets (%(default)s)')
    add('--from', type=Path, nargs='+', default=[], dest='files', metavar='FILE', help='archives downloaded by hand')
    limit = f'limit of what an archive may unpack to ({GROWTH} times its size, at least {LEAST / 1e9:g} GB)'
    add('--max-unpacked', type=float, metavar='GB', help=limit)
    add('--base-url', help='another server that has the archives under the same names')


def run(args: argparse.Namespace) -> None:
    """Download and unpack what is missing.

    Raises:
        UserError: before work starts for names that cannot be downloaded and files that do not belong to them; later
            for problems with the server, the disk or an archive.
    """
    for name in args.names:
        if name in BY_HAND:
            raise UserError(f'{name} {BY_HAND[name]}')
        if name not in ARCHIVES | REPOSITORIES:
            known = [*ARCHIVES, *REPOSITORIES, *BY_HAND]
            raise UserError(f'{name}: unknown dataset; use one of {", ".join(known)}{did_you_mean(name, known)}')
    if args.base_url and not args.base_url.startswith(('http://', 'https://')):
        raise UserError(f'--base-url {args.base_url}: must begin with http:// or https://')
    most = None if args.max_unpacked is None else args.max_unpacked * 1e9
    if most is not None and not most > 0:
        raise UserError(f'--max-unpacked {args.max_unpacked}: must be a number above 0')
    by_hand = find_archives(args.files, [archive.name for name in args.names for archive in ARCHIVES.get(name, ())])
    for name in args.names:
        if name in REPOSITORIES:
            _download_repository(REPOSITORIES[name], args.output / name, args.base_url or HUGGING_FACE)
        for archive in ARCHIVES.get(name, ()):
            if archive.name in by_hand:
                _unpack(name, by_hand[archive.name], archive, args.output, most)
            elif not by_hand:  # with --from, the other archives may follow in another call
                _download_archive(name, archive, args.output, args.base_url, most)


def find_archives(files: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Files that were downloaded by hand, under their names.

    Raises:
        UserError: a file is missing, or its name is not one of `names`.
    """
    for file in files:
        if not file.is_file():
            raise UserError(f'--from {file}: no such file')
        if file.name not in names:
            raise UserError(f'--from {file}: its name must be one of {", ".join(names) or "none: there is no archive"}')
    return {file.name: file for file in files}


def _download_archive(name: str, archive: Archive, output: Path, base_url: str | None, most: float | None) -> None:
    file = output / 'archives' / archive.name
    done = file.with_name(f'{file.name}.unpacked')
    if done.is_file() and not file.is_file():
        print(f'{name}, {archive.name}: unpacked before; remove {done} to download it again')
        return
    fetch(f'{base_url.rstrip("/")}/{archive.name}' if base_url else archive.url, file)
    _unpack(name, file, archive, output, most)
    write_file(done, [])


def _unpack(name: str, file: Path, archive: Archive, output: Path, most: float | None) -> None:
    made, kept = unpack(file, archive, output, most)
    print(f'{name}, {archive.name}: {made} files unpacked, {kept} existed already')


def _download_repository(repository: str, folder: Path, base_url: str) -> None:
    """Download all files of a dataset repository; the folder of its only database becomes HR.lmdb."""
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
            raise UserError(f'{base}/datasets/{repository}: lists {path}, which is outside {folder}')
        in_database = len(databases) == 1 and path.startswith(databases[0])
        target = folder / 'HR.lmdb' / path.removeprefix(databases[0]) if in_database else folder / path
        fetch(f'{base}/datasets/{repository}/resolve/main/{quote(path)}', target, unpacked=False)
        if expected and recorded_sum(target) != expected:
            raise UserError(
                f'{target}: does not match the checksum {expected} of {repository}; remove it and run again'
            )
    print(f'{folder}: {len(sums)} files of {repository}')
    if not databases:
        print(f'{folder}: it holds no LMDB database; unpack its files and name them in the option file')
