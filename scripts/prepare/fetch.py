"""Files from the web: resumed where they broke off, with a checksum beside them."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from tqdm import tqdm

from prepare.files import cannot_write, require_room, write_whole
from sst.utils.errors import UserError

TIMEOUT = (15, 60)  # seconds to connect, seconds without a byte
PAUSES = (1, 5, 15)  # seconds before another try; they start again whenever bytes came
CHUNK = 2**16  # bytes; of a connection that breaks off, up to so many are lost


class TransferError(Exception):
    """A transfer that may be tried again."""


def fetch(url: str, path: Path, *, unpacked: bool = True) -> None:
    """Bring a file here, unless it is here already, and write its SHA-256 to `path`.sha256.

    The file grows as `path`.part, and the next call goes on with it if the server can. A file that is here is compared
    with its checksum.

    Args:
        url: Its address.
        path: Where it goes.
        unpacked: Whether there must be room on the disk for its content once more.

    Raises:
        UserError: no room, a server that has no such file or gives a web page, a connection that broke off too often,
            and a file that no longer has its checksum.
    """
    if path.is_file():
        check_sum(path)
        return
    tries = iter(PAUSES)
    while True:
        before = _size(_part_of(path))
        try:
            _transfer(url, path, unpacked=unpacked)
            break
        except (requests.RequestException, TransferError) as fault:
            if _size(_part_of(path)) > before:
                tries = iter(PAUSES)
            pause = next(tries, None)
            if pause is None:
                there = _size(_part_of(path))
                so_far = f'{there} bytes are in {_part_of(path)}; ' if there else ''
                raise UserError(
                    f'{url}: {_one_line(fault)}; {so_far}run the same command again to go on, or {_by_hand(path)}'
                ) from fault
            tqdm.write(f'{url}: {_one_line(fault)}; next try in {pause} s', file=sys.stderr)
            time.sleep(pause)
        except OSError as fault:
            raise cannot_write(path, fault) from fault
    _record_sum(path)


def check_sum(path: Path) -> None:
    """Compare a file with its recorded SHA-256, or record it. Raises UserError where they differ."""
    if not _record_of(path).is_file():
        _record_sum(path)
    elif recorded_sum(path) != sha256(path):
        raise UserError(
            f'{path}: has not the checksum in {_record_of(path)}; remove both and run the same command again'
        )


def recorded_sum(path: Path) -> str:
    """The SHA-256 that was written beside a file."""
    return _record_of(path).read_text().partition(' ')[0]


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with open(path, 'rb') as file, _bar(f'checksum of {path.name}', size) as bar:
        while content := file.read(CHUNK):
            digest.update(content)
            bar.update(len(content))
    return digest.hexdigest()


def get_json(url: str) -> Iterator[list]:
    """The pages of a list that a web address gives. Raises UserError."""
    following: str | None = url
    while following:
        try:
            answer = requests.get(following, timeout=TIMEOUT)
            answer.raise_for_status()
            yield answer.json()
        except (requests.RequestException, ValueError) as fault:
            raise UserError(f'{following}: {_one_line(fault)}; try again later or fetch its files by hand') from fault
        following = answer.links.get('next', {}).get('url')


def _transfer(url: str, path: Path, *, unpacked: bool) -> None:
    """One try: append what is missing to the part of the file; rename it when it is whole."""
    part, state = _part_of(path), _state_of(path)
    there = _size(part)
    version = state.read_text() if there and state.is_file() else ''
    headers = {'Accept-Encoding': 'identity'}  # bytes as they lie there, so that they can be counted
    if there:
        headers['Range'] = f'bytes={there}-'
        if version:
            headers['If-Range'] = version
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing lies behind what is here
            if _total(answer) != there:
                part.unlink()
                raise TransferError('the file changed on the server while it was fetched')
        else:
            there = _start_of(answer, url, path, there)
            total = there + int(answer.headers['Content-Length']) if 'Content-Length' in answer.headers else None
            version = answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''
            write_whole(state, b'' if version.startswith('W/') else version.encode())  # weak ones prove nothing
            require_room(path.parent, path.name, (total or 0) * (2 if unpacked else 1) - there)
            _append(answer, part, there, total)
    os.replace(part, path)
    state.unlink(missing_ok=True)


def _start_of(answer: requests.Response, url: str, path: Path, there: int) -> int:
    """Where the answer's bytes begin: behind what is here, or at 0 from a server that starts again."""
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        raise TransferError(f'the server answers {answer.status_code} {answer.reason}')
    if answer.status_code >= 400:
        needs = '; it wants registration' if answer.status_code in (401, 403) else ''
        raise UserError(f'{url}: the server answers {answer.status_code} {answer.reason}{needs}; {_by_hand(path)}')
    if answer.headers.get('Content-Type', '').startswith('text/html'):
        raise UserError(f'{url}: gives a web page, not the file; {_by_hand(path)}')
    if answer.status_code != 206:
        return 0
    if not answer.headers.get('Content-Range', '').startswith(f'bytes {there}-'):
        raise TransferError('the server sends another part than was asked for')
    return there


def _append(answer: requests.Response, part: Path, there: int, total: int | None) -> None:
    with open(part, 'ab') as file, _bar(part.name.removesuffix('.part'), total, there) as bar:
        file.truncate(there)
        for content in answer.iter_content(CHUNK):
            file.write(content)
            bar.update(len(content))
    if total is not None and _size(part) != total:
        raise TransferError(f'broke off after {_size(part)} of {total} bytes')


def _record_sum(path: Path) -> None:
    write_whole(_record_of(path), f'{sha256(path)}  {path.name}\n'.encode())


def _total(answer: requests.Response) -> int | None:
    match = re.fullmatch(r'bytes \*/(\d+)', answer.headers.get('Content-Range', ''))
    return int(match[1]) if match else None


def _bar(description: str, total: int | None, start: int = 0) -> tqdm:
    return tqdm(desc=description, total=total, initial=start, unit='B', unit_scale=True, disable=None)


def _part_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.part')


def _state_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.part.version')


def _record_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _by_hand(path: Path) -> str:
    return f'fetch it by hand, put it at {path} and run the same command again'


def _one_line(fault: BaseException) -> str:
    cause = fault.args[0] if fault.args else fault
    reason = getattr(cause, 'reason', None)  # of a connection that could not be made: what the system says of it
    text = ' '.join(str(reason or fault).split())
    return text.partition('): ')[2] or text if reason else text or type(fault).__name__
