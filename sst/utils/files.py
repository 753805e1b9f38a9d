"""Files that are whole or not there at all, and weights read without running anything."""

import contextlib
import errno
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch

from sst.utils.errors import UserError

_RESUME = 'make room or correct the rights, then go on from the last saved state with --auto_resume'
ZIP_HEAD = b'PK\x03\x04'  # by which torch.load, too, tells a zip from the older pickles


def atomic_save(obj: Any, path: str | os.PathLike) -> None:
    """`torch.save` that leaves either the old file or the whole new one. Raises `UserError` where it fails."""
    write_whole(path, lambda file: torch.save(obj, file), _RESUME)


def atomic_write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text so that either the old file or the whole new one is there. Raises `UserError`.

    Python keeps bytes of file names that are not text as surrogates; they are written as the bytes they were.
    """
    write_whole(path, lambda file: file.write(text.encode(errors='surrogateescape')), _RESUME)


def user_cache() -> Path:
    """Our folder in the user's cache, which may not exist yet. Raises RuntimeError without a home folder."""
    folder = Path(os.environ.get('XDG_CACHE_HOME', ''))
    return (folder if folder.is_absolute() else Path.home() / '.cache') / 'sst'  # XDG: ignore relative paths


def write_whole(path: str | os.PathLike, write: Callable[[IO[bytes]], Any], advice: str) -> None:
    """Have `write` fill a file so that either the old one or the whole new one is there.

    Raises:
        UserError: the file cannot be written; one line that names it and ends with `advice`.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary, open(temporary, 'wb') as file:
            write(file)
    except (OSError, RuntimeError) as fault:
        raise UserError(f'cannot write {path}: {why_unwritable(fault)}; {advice}') from fault


def require_writable(folder: Path) -> None:
    """Raise `UserError` if no file can be made in a folder, or in the nearest one above that exists. Nothing stays."""
    place = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as fault:
        reason = f'no file can be made in {place}: {why_unwritable(fault)}'
        raise UserError(f'{folder}: cannot be written to ({reason}); name another folder') from fault


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        OSError: the file cannot be created, which is tried first, or cannot be renamed.
    """
    # In the same folder, so that renaming stays on one file system. The name is always the same, so that the next write
    # replaces what a killed one left; a file has one writer at a time.
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        open(temporary, 'wb').close()
        yield temporary
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # where there is a fault, it says what is wrong
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    # Windows opens no folders, and some network file systems cannot write them. The rename itself has happened.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def load_torch(path: str | os.PathLike) -> Any:
    """`torch.load` onto the CPU with `weights_only=True`: tensors, numbers, texts and containers, no code.

    Raises:
        UserError: the file is missing, truncated, damaged or foreign; one line that names it and what it seems to be.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'{path}: {"is a folder; name a weights file in it" if path.is_dir() else "no such file"}')
    try:
        damage = _damage(path)
        if not damage:
            with open(path, 'rb') as file:  # not by its name, whose ending torch.load would believe
                return torch.load(file, map_location='cpu', weights_only=True)
    except PermissionError as fault:
        raise UserError(f'{path}: no right to read it') from fault
    except Exception as fault:  # foreign bytes make torch.load raise anything at all
        raise UserError(f'{path}: cannot be read as PyTorch weights; {_describe(path, fault)}') from fault
    raise UserError(f'{path}: is damaged ({damage}); fetch or copy it again')


def _damage(path: Path) -> str:
    """What is damaged in a zip; '' for a whole one and for other files. torch.load does not compare the checksums."""
    with open(path, 'rb') as file:
        if file.read(len(ZIP_HEAD)) != ZIP_HEAD:
            return ''
    try:
        if not zipfile.is_zipfile(path):
            return ''  # truncated: torch.load finds out
        with zipfile.ZipFile(path) as archive:
            if not any(record.CRC for record in archive.infolist()):
                return ''  # written without, by torch.serialization.set_crc32_options(False)
            record = archive.testzip()  # reads in pieces
    except Exception as fault:  # damaged entries make zipfile raise anything at all
        return one_line(fault)
    return f'checksum of {record}' if record else ''


def _describe(path: Path, fault: Exception) -> str:
    with open(path, 'rb') as file:
        head = file.read(4096)
    if not head:
        return 'it is empty (an interrupted download or copy): fetch it again'
    if refused := re.search(r'GLOBAL ([\w.]+)', str(fault)):
        return (
            f'it holds {refused[1]} beside weights, and such objects are refused, because loading them could run '
            'anything; save the weights alone where it was written: torch.save(net.state_dict(), FILE)'
        )
    if head.startswith(ZIP_HEAD):
        return _describe_zip(path)
    if head.startswith(b'version https://git-lfs'):
        return 'it is a Git LFS pointer, not the file itself: run `git lfs pull`'
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < path.stat().st_size:
        return 'it seems to be a safetensors file'
    if head.startswith(b'\x80'):
        if isinstance(fault, pickle.UnpicklingError) and 'weights_only' in str(fault).lower():
            return 'it is a pickle that holds code or objects beside weights, which is refused: anything could run'
        return 'it seems to be a truncated pickle: fetch or copy it again'
    if head.lstrip()[:9].lower() in (b'<!doctype', b'<html') or head.lstrip()[:5].lower() == b'<html':
        return 'it is a web page (the download gave an error page): fetch it again'
    if is_text(head):
        return 'it is a text file'
    return 'it is a file of another kind'


def _describe_zip(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return 'it is truncated (an interrupted download or copy): fetch it again'
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith('data.pkl') for name in names):
        return 'it is a zip archive of other files: unpack it first'
    return 'it is damaged, or holds code or objects beside weights, which are refused: anything could run'


def size_text(count: int) -> str:
    """A number of bytes for people."""
    return f'{count / 2**30:.2f} GiB' if count >= 2**30 else f'{count / 2**20:.1f} MiB'


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a text."""
    try:
        text = head[:-4].decode() if len(head) > 8 else head.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def why_unwritable(fault: BaseException) -> str:
    """Why a file could not be written. torch.save raises a RuntimeError of its own for the file's error."""
    cause: BaseException | None = fault
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return 'the disk is full'
    return one_line(cause or fault)


def one_line(fault: BaseException) -> str:
    """The first line of an error's text, its name where it has none."""
    text = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return text.strip().splitlines()[0] if text.strip() else type(fault).__name__
