"""Downloads datasets and unpacks them where the option files look: DIV2K, DIV2K-val, Flickr2K, benchmark, DFLIP.

Archives stay in OUTPUT/archives, each with its SHA-256 beside it; they may be removed after they are unpacked. After an
interruption, run the same command again: it continues. Use --from for archives that were downloaded by hand.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from prepare.archives import ARCHIVES, BY_HAND, HUGGING_FACE, REPOSITORIES, Archive
from prepare.fetch import fetch
from prepare.files import write_file
from prepare.unpack import GROWTH, LEAST, unpack
from sst.utils.errors import UserError, reason_of
from sst.utils.optional import require
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


def _download_repository(repository: str, folder: Path, server: str) -> None:
    """Download a dataset repository; the folder of its only database becomes HR.lmdb."""
    if (folder / 'HR.lmdb').is_dir():
        print(f'{folder}/HR.lmdb: downloaded before; remove it to download it again')
        return
    require('huggingface_hub', 'snapshot_download', 'hub', f'{repository}: its download')
    from huggingface_hub import snapshot_download

    files = folder / 'repository'
    try:
        snapshot_download(repository, repo_type='dataset', local_dir=files, endpoint=server.rstrip('/'))
    except Exception as fault:  # the network, rights, the disk: the hub's errors have no base of their own
        raise UserError(f'{repository}: {reason_of(fault)}; run the same command again to continue') from fault
    databases = [path.parent for path in files.rglob('data.mdb')]
    if len(databases) == 1:
        databases[0].rename(folder / 'HR.lmdb')
        print(f'{folder}/HR.lmdb: the database of {repository}')
    else:
        print(f'{files}: it holds {len(databases)} LMDB databases; name the right one in the option file')
