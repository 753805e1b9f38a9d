"""Downloads that continue where they stopped, with a checksum file beside each result."""

import hashlib
import os
import re
import sys
import time
from pathlib import Path

import requests
from tqdm import tqdm

from prepare.files import cannot_write, require_room, write_file
from sst.utils.errors import UserError

TIMEOUT = (15, 60)  # seconds to connect, seconds without data
PAUSES = (1, 5, 15)  # seconds before each new try; the count starts again when data arrived
CHUNK = 2**16  # bytes


class TransferError(Exception):
    """A transfer that may be tried again."""


def fetch(url: str, path: Path) -> None:
    """Download a file unless it exists, and write its SHA-256 to `path`.sha256.

    The file grows as `path`.part, which the next call continues if the server allows that. An existing file is compared
    with its checksum.

    Raises:
        UserError: the disk has no room for the file and what is in it, the server has no such file or sends a web page,
            the connection broke too often, or an existing file does not match its checksum.
    """
    if path.is_file():
        _check_sum(path)
        return
    part, pauses = _beside(path, 'part'), iter(PAUSES)
    while True:
        before = _size(part)
        try:
            _transfer(url, path, part)
            break
        except (requests.RequestException, TransferError) as fault:
            pauses = iter(PAUSES) if _size(part) > before else pauses
            pause = next(pauses, None)
            if pause is None:
                kept = f'{_size(part)} bytes are in {part}; ' if _size(part) else ''
                advice = f'run the same command again to continue, or {_by_hand(path)}'
                raise UserError(f'{url}: {_one_line(fault)}; {kept}{advice}') from fault
            tqdm.write(f'{url}: {_one_line(fault)}; next try in {pause} s', file=sys.stderr)
            time.sleep(pause)
        except OSError as fault:
            raise cannot_write(path, fault) from fault
    _record_sum(path)


def _transfer(url: str, path: Path, part: Path) -> None:
    """Try once: append what is missing to the partial file, and rename it when it is complete."""
    state, there = _beside(part, 'version'), _size(part)
    headers = {'Accept-Encoding': 'identity'}  # uncompressed, so that bytes can be counted
    if there:
        headers['Range'] = f'bytes={there}-'
        if version := state.read_text() if state.is_file() else '':
            headers['If-Range'] = version
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # the server has nothing after what is here
            if answer.headers.get('Content-Range') != f'bytes */{there}':
                part.unlink()
                raise TransferError('the file on the server changed during the download')
        else:
            there = _start_of(answer, url, path, there)
            total = there + int(answer.headers['Content-Length']) if 'Content-Length' in answer.headers else None
            version = answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''
            weak = version.startswith('W/')  # such a version does not identify bytes
            write_file(state, [b'' if weak else version.encode()])
            require_room(path.parent, path.name, 2 * (total or 0) - there)
            with open(part, 'ab') as file, _bar(path.name, total, there) as bar:
                file.truncate(there)
                for content in answer.iter_content(CHUNK):
                    file.write(content)
                    bar.update(len(content))
            if total is not None and _size(part) != total:
                raise TransferError(f'the connection broke after {_size(part)} of {total} bytes')
    os.replace(part, path)
    state.unlink(missing_ok=True)


def _start_of(answer: requests.Response, url: str, path: Path, there: int) -> int:
    """Where the bytes of the answer begin: after what is here, or at 0 from a server that starts again."""
    code = answer.status_code
    if code in (408, 429) or code >= 500:
        raise TransferError(f'the server answers {code} {answer.reason}')
    if code >= 400:
        needs = ' and needs registration' if code in (401, 403) else ''
        raise UserError(f'{url}: the server answers {code} {answer.reason}{needs}; {_by_hand(path)}')
    if answer.headers.get('Content-Type', '').startswith('text/html'):
        raise UserError(f'{url}: gives a web page instead of the file; {_by_hand(path)}')
    if code == 206 and not re.match(rf'bytes {there}-', answer.headers.get('Content-Range', '')):
        raise TransferError('the server sends another part than requested')
    return there if code == 206 else 0


def _check_sum(path: Path) -> None:
    """Compare a file with its recorded SHA-256, or record it. Raises UserError if they differ."""
    record = _beside(path, 'sha256')
    if not record.is_file():
        _record_sum(path)
    elif record.read_text().partition(' ')[0] != _sha256(path):
        raise UserError(f'{path}: does not match the checksum in {record}; remove both and run the same command again')


def _record_sum(path: Path) -> None:
    write_file(_beside(path, 'sha256'), [f'{_sha256(path)}  {path.name}\n'.encode()])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file, _bar(f'checksum of {path.name}', _size(path)) as bar:
        while content := file.read(CHUNK):
            digest.update(content)
            bar.update(len(content))
    return digest.hexdigest()


def _bar(description: str, total: int | None, start: int = 0) -> tqdm:
    return tqdm(desc=description, total=total, initial=start, unit='B', unit_scale=True, disable=None)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f'{path.name}.{ending}')


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _by_hand(path: Path) -> str:
    return f'download it by hand, put it at {path} and run the same command again'


def _one_line(fault: BaseException) -> str:
    reason = getattr(fault.args[0] if fault.args else fault, 'reason', None)  # the system's, of a failed connection
    text = ' '.join(str(reason or fault).split())
    return text.rpartition('): ')[2] or text if reason else text or type(fault).__name__
