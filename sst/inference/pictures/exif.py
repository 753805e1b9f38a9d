"""EXIF data patched in place, so that makers' notes, which hold offsets, stay readable; and orientation."""

import re
import struct
from collections.abc import Iterator

import numpy as np

ORIENTATION = 0x0112
_EXIF_FOLDER = 0x8769
_SHORT, _LONG = 3, 4
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:\s*=\s*["\']|>))([1-8])')


def bare(exif: bytes | None) -> bytes | None:
    """EXIF data without the mark that JPEG has in front of it; None where there is none.

    Raises:
        ValueError: damaged.
    """
    while exif and exif.startswith(b'Exif\0\0'):
        exif = exif[6:]
    if not exif:
        return None
    try:
        list(_entries(exif))
    except struct.error as fault:
        raise ValueError('truncated EXIF data') from fault
    return exif


def orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """1 to 8 by what EXIF says, else by XMP, 1 where neither says anything valid."""
    value = next((value for _, tag, value in _entries(exif) if tag == ORIENTATION), None) if exif else None
    if value is None and xmp and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[2])
    return value if value and value <= 8 else 1


def turned_upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """An (H, W, ...) array as a file of that orientation is meant to be seen; a view."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def upright_exif(exif: bytes) -> bytes:
    """EXIF data that says that the picture is the right way up, without the thumbnail, which is not."""
    content = bytearray(exif)
    for place, tag, _ in _entries(exif):
        if tag == ORIENTATION:
            _put(content, place, 1)
    order = _order(exif)
    start = struct.unpack_from(order + 'I', exif, 4)[0]
    count = struct.unpack_from(order + 'H', exif, start)[0]
    struct.pack_into(order + 'I', content, start + 2 + 12 * count, 0)
    return bytes(content)


def upright_xmp(xmp: bytes) -> bytes:
    """XMP data that says that the picture is the right way up."""
    return _XMP_ORIENTATION.sub(rb'\g<1>1', xmp)


def resized_exif(exif: bytes, width: int, height: int) -> bytes:
    """EXIF data whose entries of the picture's size, where there are any, say these pixels."""
    content = bytearray(exif)
    for place, tag, _ in _entries(exif):
        if tag in _WIDTHS or tag in _HEIGHTS:
            _put(content, place, width if tag in _WIDTHS else height)
    return bytes(content)


def _order(exif: bytes | bytearray) -> str:
    if exif[:2] not in (b'II', b'MM'):
        raise ValueError('no EXIF data')
    return '<' if exif.startswith(b'II') else '>'


def _entries(exif: bytes) -> Iterator[tuple[int, int, int | None]]:
    """(place, tag, value) of each entry of the main and the EXIF folder; None for all but single whole numbers."""
    order = _order(exif)
    main = struct.unpack_from(order + 'I', exif, 4)[0]
    folders = [main]
    for start in folders:
        (count,) = struct.unpack_from(order + 'H', exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + 'HHI', exif, place)
            code = {_SHORT: 'H', _LONG: 'I'}.get(kind)
            value = struct.unpack_from(order + code, exif, place + 8)[0] if code and number == 1 else None
            yield place, tag, value
            if tag == _EXIF_FOLDER and start == main and value is not None:
                folders.append(value)
        if start == main:
            struct.unpack_from(order + 'I', exif, start + 2 + 12 * count)  # the link to the thumbnail is there


def _put(content: bytearray, place: int, value: int) -> None:
    """Make an entry a single whole number."""
    order = _order(content)
    code, kind = ('H', _SHORT) if value < 1 << 16 else ('I', _LONG)
    struct.pack_into(order + 'HI', content, place + 2, kind, 1)
    content[place + 8 : place + 12] = struct.pack(order + code, value).ljust(4, b'\0')
