"""EXIF data patched in place, because makers' notes hold offsets and nothing may move; and the orientation in it."""

import re
import struct
from collections.abc import Iterator, Mapping

import numpy as np

ORIENTATION = 0x0112
_EXIF_FOLDER = 0x8769
_CODES = {3: 'H', 4: 'I'}  # of single whole numbers, by EXIF's types SHORT and LONG
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:\s*=\s*["\']|>))([1-8])')


def checked(exif: bytes | None) -> bytes | None:
    """EXIF data without the mark that precedes it in JPEG; None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    while exif and exif.startswith(b'Exif\0\0'):
        exif = exif[6:]
    if not exif:
        return None
    try:
        list(_entries(exif))
        _thumbnail_link(exif)
    except struct.error as fault:
        raise ValueError('truncated EXIF data') from fault
    return exif


def orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """1 to 8 by EXIF, else by XMP; 1 if neither has a valid value."""
    value = next((value for _, tag, value in _entries(exif) if tag == ORIENTATION), None) if exif else None
    if value is None and xmp and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[2])
    return value if value and value <= 8 else 1


def turned_upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """An (H, W, ...) array of a file with that orientation as it should be shown; a view."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def upright_exif(exif: bytes) -> bytes:
    """EXIF data with the orientation of an upright image, without the thumbnail, which is not upright."""
    content = bytearray(_with_values(exif, {ORIENTATION: 1}))
    struct.pack_into(_order(exif) + 'I', content, _thumbnail_link(exif), 0)
    return bytes(content)


def upright_xmp(xmp: bytes) -> bytes:
    """XMP data with the orientation of an upright image."""
    return _XMP_ORIENTATION.sub(rb'\g<1>1', xmp)


def resized_exif(exif: bytes, width: int, height: int) -> bytes:
    """EXIF data with this size in pixels in those entries of the size that it has."""
    return _with_values(exif, dict.fromkeys(_WIDTHS, width) | dict.fromkeys(_HEIGHTS, height))


def _order(exif: bytes) -> str:
    if exif[:2] not in (b'II', b'MM'):
        raise ValueError('no EXIF data')
    return '<' if exif.startswith(b'II') else '>'


def _entries(exif: bytes) -> Iterator[tuple[int, int, int | None]]:
    """(place, tag, value) of each entry of the main and the EXIF folder; the value if it is a single whole number."""
    order = _order(exif)
    main = struct.unpack_from(order + 'I', exif, 4)[0]
    folders = [main]
    for start in folders:
        (count,) = struct.unpack_from(order + 'H', exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + 'HHI', exif, place)
            single = kind in _CODES and number == 1
            value = struct.unpack_from(order + _CODES[kind], exif, place + 8)[0] if single else None
            yield place, tag, value
            if tag == _EXIF_FOLDER and start == main and value is not None:
                folders.append(value)


def _thumbnail_link(exif: bytes) -> int:
    """The place of the offset that leads from the main folder to the thumbnail's."""
    start = struct.unpack_from(_order(exif) + 'I', exif, 4)[0]
    place = start + 2 + 12 * struct.unpack_from(_order(exif) + 'H', exif, start)[0]
    struct.unpack_from('4s', exif, place)
    return place


def _with_values(exif: bytes, values: Mapping[int, int]) -> bytes:
    """EXIF data with these values, by tag, in the entries that it has; none is added."""
    content, order = bytearray(exif), _order(exif)
    for place, tag, _ in _entries(exif):
        if tag in values:
            kind = 3 if values[tag] < 1 << 16 else 4
            struct.pack_into(order + 'HI', content, place + 2, kind, 1)
            content[place + 8 : place + 12] = struct.pack(order + _CODES[kind], values[tag]).ljust(4, b'\0')
    return bytes(content)
