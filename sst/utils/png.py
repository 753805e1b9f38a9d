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


def without_damaged_extras(content: bytes) -> tuple[bytes, list[str]]:
    """A file without those chunks of PNG whose checksums are wrong and that no pixel needs, and their names.

    Pillow refuses the whole file for them. Transparency is a chunk that pixels need.
    """
    if not content.startswith(PNG_HEAD):
        return content, []
    kept: list[bytes | memoryview] = [PNG_HEAD]
    damaged = []
    for kind, part, checksum in chunks(content):
        needed = kind[:1].isupper() or kind == b'tRNS' or len(checksum) < 4
        if needed or zlib.crc32(part, zlib.crc32(kind)) == int.from_bytes(checksum, 'big'):
            kept += [len(part).to_bytes(4, 'big'), kind, part, checksum]
        else:
            damaged.append(kind.decode('latin-1'))
    return (b''.join(kept), damaged) if damaged else (content, [])


def chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b''.join((struct.pack('>I', len(content)), kind, content, struct.pack('>I', checksum)))
