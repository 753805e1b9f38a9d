"""What of PNG neither Pillow nor OpenCV does: 16 bits with all that the file says, and damage noticed."""

import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from sst.inference.pictures.picture import DamagedError, Metadata
from sst.utils.png import PNG_HEAD, chunk, chunks

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it cannot read is told by our errors

XMP_KEYWORD = 'XML:com.adobe.xmp'
COLOUR_CHUNKS = (b'gAMA', b'cHRM', b'sRGB', b'cICP')  # in front of the palette and pixels
_GREY, _RGB, _GREY_ALPHA, _RGBA = 0, 2, 4, 6  # types of colour
_CHANNELS = {_RGB: 3, _GREY_ALPHA: 2, _RGBA: 4}
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_STRIP = 1 << 24  # bytes that are compressed at a time, and of which a part of the file is made
_FILTERED = 1 << 18  # bytes whose filters are chosen at a time: they stay in the processor's cache
_FILTERS = np.array([0, 1, 2, 4], np.uint8)  # none, left, above, Paeth's
_TYPES = {1: _GREY, 2: _GREY_ALPHA, 3: _RGB, 4: _RGBA}  # of colour, by channels


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


def encode(
    rows: Iterator[np.ndarray], shape: tuple[int, int, int], dtype: np.dtype, metadata: Metadata
) -> Iterator[bytes]:
    """The parts of a PNG, as its rows come.

    Args:
        rows: bands (rows, W, C) uint8 or uint16, C = 1 to 4: grey, grey and alpha, RGB, RGBA.
        shape: (H, W, C) of the whole.
        dtype: of the samples.
        metadata: what else the file is to say.
    """
    height, width, channels = shape
    header = struct.pack('>IIBBBBB', width, height, 8 * dtype.itemsize, _TYPES[channels], 0, 0, 0)
    yield b''.join((PNG_HEAD, chunk(b'IHDR', header), *_metadata_chunks(metadata)))
    stream, held = zlib.compressobj(), bytearray()
    above = np.zeros(width * channels * dtype.itemsize, np.uint8)
    step = max(1, _FILTERED // len(above))
    for band in rows:
        lines = np.ascontiguousarray(band.astype(dtype.newbyteorder('>'))).view(np.uint8).reshape(len(band), -1)
        for top in range(0, len(lines), step):
            part = lines[top : top + step]
            held += stream.compress(_filtered(part, above, channels * dtype.itemsize).data)
            above = part[-1]
        if len(held) >= _STRIP:
            yield chunk(b'IDAT', bytes(held))
            held.clear()
    held += stream.flush()
    for start in range(0, len(held), 2 * _STRIP):
        yield chunk(b'IDAT', bytes(held[start : start + 2 * _STRIP]))
    yield chunk(b'IEND', b'')


def _filtered(lines: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """(rows, 1 + bytes): each line as the difference to its neighbours that leaves least, its filter's number in front.

    Of PNG's filters the mean of two neighbours is left out: it leaves less, and yet compresses worse.

    Args:
        lines: (rows, bytes) uint8.
        above: (bytes,), the line before the first.
        pixel: bytes of a pixel.
    """
    up = np.concatenate([above[None], lines[:-1]])
    left, corner = np.zeros_like(lines), np.zeros_like(lines)
    left[:, pixel:], corner[:, pixel:] = lines[:, :-pixel], up[:, :-pixel]
    candidates = np.stack([lines, lines - left, lines - up, lines - _paeth(left, up, corner)])
    sizes = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2)
    best = sizes.argmin(axis=0)
    result = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
    result[:, 0] = _FILTERS[best]
    result[:, 1:] = candidates[best, np.arange(len(lines))]
    return result


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of three neighbours the one nearest to left + up - corner, ties in this order."""
    a, b, c = (array.astype(np.int16) for array in (left, up, corner))
    to_left, to_up, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))


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
