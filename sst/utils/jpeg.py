"""JPEG whose header claims more pixels than its data holds: every decoder fills them with grey and says nothing."""

import io
import re

import numpy as np
from numpy.typing import ArrayLike

from sst.utils.pixels import opened

CORNERS = [0, 0, -1, -1], [0, -1, 0, -1]  # of an array
_MISSING = (63, 64, 65, 127, 128)  # the middle grey, and what becomes of that of CMYK
JPEG_HEAD = b'\xff\xd8\xff'
_NOISE = np.random.RandomState(0).randint(1, 255, (33, 250), np.uint8)  # of no meaning, and without a marker
# Behind a restart only data of the next restart counts: each number is there four times.
_FILLER = _NOISE[0].tobytes() + b''.join(bytes([0xFF, 0xD0 + n % 8]) + _NOISE[n + 1].tobytes() for n in range(32))
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')  # the end of a scan: neither a byte 255 of it nor a restart


def lacks_pixels(jpeg: bytes, corners: ArrayLike) -> bool:
    """Whether the data of a JPEG ends before its last pixels.

    Where decoders have no data they give the middle grey. So only an image with such a corner is decoded again, with
    more data behind that of each scan: if this changes a pixel, data was missing.

    Args:
        jpeg: the bytes of its file.
        corners: (4,) or (4, C), the decoded corner pixels in any order.
    """
    if not np.isin(corners, _MISSING).reshape(4, -1).all(axis=1).any():
        return False
    try:
        return not np.array_equal(_eighth(jpeg), _eighth(_with_more_data(jpeg)))
    except Exception:  # damaged bytes make Pillow raise anything
        return True


def _eighth(jpeg: bytes) -> np.ndarray:
    """The lightness of a JPEG at an eighth of its size, which is quick."""
    with opened(io.BytesIO(jpeg), ('JPEG',)) as image:
        image.draft('L', (1, 1))
        return np.asarray(image)


def _with_more_data(jpeg: bytes) -> bytes:
    """The same JPEG with data of no meaning behind that of each scan."""
    parts, kept, place = [], 0, 2
    while jpeg[place : place + 1] == b'\xff' and jpeg[place + 1 : place + 2] not in (b'\xd9', b''):
        if jpeg[place + 1] == 0xFF:  # a filling byte
            place += 1
            continue
        begin = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], 'big')
        if jpeg[place + 1] == 0xDA and (end := _MARKER.search(jpeg, begin)):
            begin = end.start()
            parts += [jpeg[kept:begin], _FILLER]
            kept = begin
        place = begin
    return b''.join((*parts, jpeg[kept:]))
