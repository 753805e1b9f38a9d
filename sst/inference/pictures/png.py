"""What of PNG neither Pillow nor OpenCV does: 16 bits with all that the file says, and damage noticed."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from sst.inference.pictures.picture import DamagedError, Metadata
from sst.utils.png import PNG_HEAD, chunk, chunks

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it cannot read is told by our errors

XMP_KEYWORD = 'XML:com.adobe.xmp'
COLOUR_CHUNKS = (b'gAMA', b'cHRM', b'sRGB', b'cICP')  # in front of the palette and pixels
_GREY, _RGB, _GREY_ALPHA = 0, 2, 4  # types of colour
_CHANNELS = {_RGB: 3, _GREY_ALPHA: 2, 6: 4}
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_STRIP = 1 << 24  # bytes that are compressed at a time


def check_whole(png: bytes) -> None:
    """Raises `DamagedError` that says what of a PNG is missing or damaged."""
    for kind, content, checksum in chunks(png):
        if len(checksum) < 4:
            raise DamagedError('the file is truncated')
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(checksum, 'big'):
            raise DamagedError(f'wrong checksum in its part {kind.decode("latin-1")!r}')
        if kind == b'IEND':
            break
    else:
        raise DamagedError('the file is truncated')
    _check_length(png)


def bits_of(png: bytes) -> int:
    """Bits of a sample, 1 to 16."""
    return png[24]


def decode_16_bit(png: bytes) -> np.ndarray:
    """(H, W, C) uint16 of a whole 16-bit PNG, C = 1 to 4: grey, grey and alpha, RGB, RGBA.

    Raises:
        DamagedError: the pixels are damaged.
    """
    # Only the pixels, so that OpenCV can see neither gamma nor transparency nor animation.
    kept = (chunk(kind, content) for kind, content, _ in chunks(png) if kind in (b'IHDR', b'IDAT', b'IEND'))
    bare = b''.join((PNG_HEAD, *kept))
    array = cv2.imdecode(np.frombuffer(bare, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise DamagedError('its pixels cannot be decoded')
    array = array.reshape(*array.shape[:2], -1)
    if png[25] in (_GREY, _GREY_ALPHA):
        return array[..., [0, -1]] if png[25] == _GREY_ALPHA else array[..., :1]
    return array[..., [2, 1, 0, 3][: array.shape[2]]]


def _check_length(png: bytes) -> None:
    """Raises `DamagedError` where the pixels end early: Pillow and OpenCV would return what there is."""
    missing, stream = _length_of_pixels(png), zlib.decompressobj()
    try:
        for kind, content, _ in chunks(png):
            while kind == b'IDAT' and content and missing > 0:
                missing -= len(stream.decompress(content, _STRIP))
                content = memoryview(stream.unconsumed_tail)
    except zlib.error as fault:
        raise DamagedError('its pixels are damaged') from fault
    if missing > 0:
        raise DamagedError('its pixels end early')


def _length_of_pixels(png: bytes) -> int:
    """Bytes of all rows with their filters' marks, before compression."""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from('>IIBBBBB', png, 16)
    bits *= _CHANNELS.get(colour, 1)
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]  # left, top, step to the right, step down
    sizes = [(len(range(left, width, right)), len(range(top, height, down))) for left, top, right, down in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns)


def transparent_colour(png: bytes) -> np.ndarray | None:
    """(1,) or (3,) samples, on the scale of 8 or 16 bits, of the colour that a PNG of no palette calls transparent."""
    if png[25] not in (_GREY, _RGB):
        return None
    for kind, content, _ in chunks(png):
        if kind == b'tRNS':
            colour = np.frombuffer(content, '>u2').astype(np.int64)
            return colour * 255 // ((1 << bits_of(png)) - 1) if bits_of(png) < 8 else colour
    return None


def colour_chunks(png: bytes) -> bytes:
    """The chunks that say what the colours mean, one after the other."""
    return b''.join(chunk(kind, content) for kind, content, _ in chunks(png) if kind in COLOUR_CHUNKS)


def encode(array: np.ndarray, metadata: Metadata) -> bytes:
    """A PNG of (H, W, C) uint8 or uint16, C = 1 to 4: grey, grey and alpha, RGB, RGBA."""
    channels = array.shape[2]
    if array.dtype == np.uint8:
        buffer = io.BytesIO()
        Image.fromarray(array.squeeze(2) if channels == 1 else array).save(buffer, 'PNG')
        bare = buffer.getbuffer()
    elif channels == 2:
        bare = memoryview(_grey_alpha_16_bit(array))
    else:
        order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
        bare = memoryview(cv2.imencode('.png', array[..., order])[1].tobytes())
    start = len(PNG_HEAD) + 25  # behind IHDR
    return b''.join((bare[:start], *_metadata_chunks(metadata), bare[start:]))


def _grey_alpha_16_bit(array: np.ndarray) -> bytes:
    height, width, _ = array.shape
    # Each row as its difference to the one above (filter 2), byte by byte.
    rows = np.ascontiguousarray(array.astype('>u2')).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack('>IIBBBBB', width, height, 16, _GREY_ALPHA, 0, 0, 0)
    pixels = zlib.compress(filtered.data)
    parts = (chunk(b'IDAT', pixels[start : start + _STRIP]) for start in range(0, len(pixels), _STRIP))
    return b''.join((PNG_HEAD, chunk(b'IHDR', header), *parts, chunk(b'IEND', b'')))


def _metadata_chunks(metadata: Metadata) -> list[bytes]:
    parts = [metadata.png_colour]
    if metadata.icc:
        parts.append(chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(metadata.icc)))
    if metadata.dpi:
        per_metre = [round(dpi / 0.0254) for dpi in metadata.dpi]
        parts.append(chunk(b'pHYs', struct.pack('>IIB', *per_metre, 1)))
    if metadata.exif:
        parts.append(chunk(b'eXIf', metadata.exif))
    if metadata.xmp:
        parts.append(_text_chunk(XMP_KEYWORD, metadata.xmp.decode(errors='replace')))
    parts.extend(_text_chunk(keyword, text) for keyword, text in metadata.texts.items())
    return parts


def _text_chunk(keyword: str, text: str) -> bytes:
    name = keyword.encode('latin-1', 'replace')[:79]
    if keyword != XMP_KEYWORD:
        try:
            return chunk(b'tEXt', name + b'\0' + text.encode('latin-1'))
        except UnicodeEncodeError:
            pass
    return chunk(b'iTXt', name + b'\0\0\0\0\0' + text.encode(errors='replace'))
