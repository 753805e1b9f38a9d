"""The bytes before the pixels of PNG and JPEG files. libvips would lose colour chunks, comments and parts of EXIF."""

import struct
import zlib

from sst.upscaling.pictures.image_file import Metadata
from sst.utils.png import chunk

XMP_KEYWORD = 'XML:com.adobe.xmp'
COLOUR_CHUNKS = (b'gAMA', b'cHRM', b'sRGB', b'cICP')  # they must precede the palette and the pixels
_IHDR_END = 33  # bytes of PNG's mark and first chunk
_ICC_PART = 65_519  # bytes of a profile in one segment of JPEG
_XMP_MARK = b'http://ns.adobe.com/xap/1.0/\0'


def png_head(plain: bytes, metadata: Metadata) -> bytes:
    """The bytes before a PNG's pixels, given those of the same PNG without metadata."""
    parts = [plain[:_IHDR_END], metadata.png_colour]
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
    return b''.join(parts)


def _text_chunk(keyword: str, text: str) -> bytes:
    name = keyword.encode('latin-1', 'replace')[:79]
    if keyword != XMP_KEYWORD:
        try:
            return chunk(b'tEXt', name + b'\0' + text.encode('latin-1'))
        except UnicodeEncodeError:
            pass
    return chunk(b'iTXt', name + b'\0\0\0\0\0' + text.encode(errors='replace'))


def jpeg_head(metadata: Metadata) -> bytes:
    """The bytes before a JPEG's tables."""
    unit, (x, y) = (1, map(round, metadata.dpi)) if metadata.dpi else (0, (1, 1))
    jfif = b'JFIF\0' + struct.pack('>HBHHH', 0x0101, unit, min(x, 65535), min(y, 65535), 0)
    parts = [b'\xff\xd8', _segment(0xE0, jfif)]
    if metadata.exif:
        parts.append(_segment(0xE1, b'Exif\0\0' + metadata.exif))
    if metadata.xmp:
        parts.append(_segment(0xE1, _XMP_MARK + metadata.xmp))
    icc = metadata.icc or b''
    profile = [icc[start : start + _ICC_PART] for start in range(0, len(icc), _ICC_PART)]
    for number, part in enumerate(profile, start=1):
        parts.append(_segment(0xE2, b'ICC_PROFILE\0' + bytes([number, len(profile)]) + part))
    if comment := metadata.texts.get('Comment'):
        parts.append(_segment(0xFE, comment.encode(errors='replace')[:65_533]))
    return b''.join(parts)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content
