"""JPEG whose header claims more pixels than its data holds: every decoder fills them with grey and says nothing."""

import io
import re

import numpy as np
from numpy.typing import ArrayLike

from sst.utils.pixels import opened

CORNERS = [0, 0, -1, -1], [0, -1, 0, -1]  # of an array
_MISSING = (63, 64, 65, 127, 128)  # the middle grey, and what becomes of that of CMYK
JPEG_HEAD = b'\xff\xd8\xff'
_DATA = bytes(range(1, 251)) * 4  # of no meaning, and without a marker
_FILLER = _DATA + b''.join(bytes([0xFF, 0xD0 + number]) + _DATA for number in range(8))  # also after any restart
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')  # the end of a scan: neither a byte 255 of it nor a restart


def lacks_pixels(jpeg: bytes, corners: ArrayLike) -> bool:
    """Whether the data of a JPEG ends before its last pixels.

    Where decoders have no data they give the middle grey. So only a picture with such a corner is decoded again, with
    more data behind that of each scan: if this changes a pixel, data was missing.

    Args:
        jpeg: the bytes of its file.
        corners: (4,) or (4, C), the decoded corner pixels in any order.
    """
    if not np.isin(corners, _MISSING).reshape(4, -1).all(axis=1).any():
        return False
    return not np.array_equal(_eighth(jpeg), _eighth(_with_more_data(jpeg)))


def _eighth(jpeg: bytes) -> np.ndarray:
    """The lightness of a JPEG at an eighth of its size, which is quick."""
    with opened(io.BytesIO(jpeg), ('JPEG',)) as image:
        image.draft('L', (1, 1))
        return np.asarray(image)


def _with_more_data(jpeg: bytes) -> bytes:
    parts, kept, place = [], 0, 2
    while jpeg[place : place + 1] == b'\xff' and jpeg[place + 1] != 0xD9:
        begin = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], 'big')
        if jpeg[place + 1] == 0xDA and (end := _MARKER.search(jpeg, begin)):
            begin = end.start()
            parts += [jpeg[kept:begin], _FILLER]
            kept = begin
        place = begin
    return b''.join((*parts, jpeg[kept:]))
