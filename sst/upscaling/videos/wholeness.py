"""Whether a video file is as long as it says, so that a broken download is noticed before hours of work."""

import os
from pathlib import Path
from typing import IO

_EBML, _SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'
_FIRST_BOXES = (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip', b'pnot')


def missing_bytes(path: Path) -> int:
    """How many bytes are missing at the end of an MP4, MOV, Matroska, WebM or AVI; 0 for other files.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        head = file.read(12)
        if head[4:8] in _FIRST_BOXES:
            end = _end_of_boxes(file, size)
        elif head.startswith(_EBML):
            end = _end_of_segment(file)
        elif head.startswith(b'RIFF') and head[8:] == b'AVI ':
            end = 8 + int.from_bytes(head[4:8], 'little')
        else:
            end = 0
    return max(0, end - size)


def _end_of_boxes(file: IO[bytes], size: int) -> int:
    """Where the last box of an MP4 ends. Bytes after it that form no box are ignored."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], 'big')
        if length == 1:
            length = int.from_bytes(head[8:16], 'big')
        if length < 8 or not head[4:8].isalnum():  # 0: up to the end, whatever it is
            break
        position += length
    return position


def _end_of_segment(file: IO[bytes]) -> int:
    """Where a Matroska file's segment ends; 0 if the file does not say, as in live recordings."""
    file.seek(len(_EBML))
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, os.SEEK_CUR)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: IO[bytes]) -> int | None:
    """An EBML number: as many further bytes as its first has leading zeros. None for `unknown`, all ones."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    further = 8 - first[0].bit_length()
    bits = 7 * (further + 1)
    value = int.from_bytes(first + file.read(further), 'big') & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value
