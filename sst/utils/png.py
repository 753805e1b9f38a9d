"""The chunks of which a PNG is made."""

import struct
import zlib
from collections.abc import Iterator

PNG_HEAD = b'\x89PNG\r\n\x1a\n'


def chunks(png: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """(kind, content, checksum) of each chunk; of a truncated one what is there."""
    view, start = memoryview(png), len(PNG_HEAD)
    while start < len(png):
        body = start + 8
        end = body + int.from_bytes(view[start : start + 4], 'big')
        yield bytes(view[start + 4 : body]), view[body:end], view[end : end + 4]
        start = end + 4


def chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b''.join((struct.pack('>I', len(content)), kind, content, struct.pack('>I', checksum)))
