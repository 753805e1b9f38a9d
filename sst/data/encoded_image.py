"""An image file in memory, of which no more is decoded than a crop needs."""

import struct
import zlib
from functools import cached_property

import cv2
import numpy as np

from sst.utils.errors import UserError
from sst.utils.jpeg import CORNERS, JPEG_HEAD, lacks_pixels
from sst.utils.pixels import MEGAPIXELS, claimed_size, too_large
from sst.utils.png import PNG_HEAD, chunk, chunks

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our errors say what OpenCV cannot read

_RGB_8_BIT = bytes([8, 2, 0, 0, 0])  # bit depth, colour type, compression, filter, not interlaced


class EncodedImage:
    """The bytes of an image file, decoded as OpenCV's `IMREAD_COLOR` does.

    Grey and palette become RGB, 16 bits become 8, transparency is dropped, EXIF's orientation is applied.

    Args:
        content: the bytes of the file.
        name: what errors call it.
        megapixels: million pixels that it may have.
    """

    def __init__(self, content: bytes, name: str, megapixels: float = MEGAPIXELS) -> None:
        self.content, self.name, self.megapixels = content, name, megapixels

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels. Raises `UserError` if the file cannot be read or claims too many pixels."""
        claimed = claimed_size(self.content)
        if claimed is None:  # OpenCV reads kinds that Pillow does not know, but would accept any size
            raise self._unreadable()
        if why := too_large(*claimed, self.megapixels):
            raise UserError(f'picture {self.name} cannot be read: {why}')
        return claimed[::-1] if self._is_plain_png else self._whole.shape[:2]

    def crop(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Decode a crop. What lies outside of the image is left out.

        Returns:
            np.ndarray: (H, W, 3) uint8, RGB, a copy.

        Raises:
            UserError: the file cannot be read.
        """
        bottom, right = min(top + height, self.shape[0]), min(left + width, self.shape[1])
        # Cutting the corner out of the file costs time too: beyond three quarters of the image, decoding all is faster.
        partly = self._is_plain_png and bottom * right < 0.75 * self.shape[0] * self.shape[1]
        corner = self._upper_left(bottom, right) if partly else self._whole
        return cv2.cvtColor(corner[top:bottom, left:right], cv2.COLOR_BGR2RGB)

    def whole(self) -> np.ndarray:
        """Decode all of it, as `crop` does."""
        return self.crop(0, 0, *self.shape)

    @cached_property
    def _is_plain_png(self) -> bool:
        """Whether it is a complete PNG of the usual kind: each pixel follows from those above it and left of it."""
        if not self.content.startswith(PNG_HEAD) or self.content[24:29] != _RGB_8_BIT:
            return False
        kinds = {kind for kind, _, _ in chunks(self.content)}
        return b'IEND' in kinds and not kinds & {b'eXIf', b'acTL'}

    @cached_property
    def _whole(self) -> np.ndarray:
        array = self._decode(self.content)
        if self.content.startswith(JPEG_HEAD) and lacks_pixels(self.content, array[CORNERS]):
            raise self._unreadable()
        return array

    def _upper_left(self, height: int, width: int) -> np.ndarray:
        try:
            return self._decode(_upper_left_png(self.content, height, width))
        except (zlib.error, ValueError) as fault:
            raise self._unreadable() from fault

    def _decode(self, content: bytes) -> np.ndarray:
        """Return (H, W, 3) uint8, BGR."""
        try:
            array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        except cv2.error as fault:  # the sides are too long for OpenCV
            raise self._unreadable() from fault
        if array is None:
            raise self._unreadable()
        return array

    def _unreadable(self) -> UserError:
        return UserError(f'picture {self.name} cannot be read: it is damaged or no picture; replace or remove it')


def _upper_left_png(png: bytes, height: int, width: int) -> bytes:
    """Make an uncompressed PNG of a plain PNG's upper left corner; the rest is neither inflated nor filtered.

    Raises:
        ValueError, zlib.error: the file is damaged.
    """
    row = 1 + 3 * int.from_bytes(png[16:20], 'big')  # bytes: the filter, then the pixels
    rows = np.frombuffer(_inflate(png, height * row), np.uint8).reshape(height, row)
    pixels = zlib.compress(rows[:, : 1 + 3 * width].tobytes(), level=0)
    header = struct.pack('>II', width, height) + _RGB_8_BIT
    return b''.join((PNG_HEAD, chunk(b'IHDR', header), chunk(b'IDAT', pixels), chunk(b'IEND', b'')))


def _inflate(png: bytes, length: int) -> bytes:
    """Return the first `length` bytes of a PNG's filtered pixels."""
    parts, stream = [], zlib.decompressobj()
    for kind, content, checksum in chunks(png):
        if kind == b'IDAT' and length:
            if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(checksum, 'big'):
                raise ValueError('wrong checksum')
            parts.append(stream.decompress(content, length))
            length -= len(parts[-1])
    return b''.join(parts)
