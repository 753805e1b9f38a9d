"""Image files for tests; those that no library writes are made by hand."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from sst.inference import Tiler
from sst.inference.enlarging import enlarge
from sst.upscaling.pictures import ImageFile, read_image
from sst.utils.errors import UserError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def saved(path: str | Path, *shape: int, **options) -> Path:
    """A file of noise (H, W) or (H, W, C), in a folder that need not be there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*shape)).save(path, **options)
    return path


def read(folder: Path, content: bytes, name: str = 'a.png') -> ImageFile:
    (folder / name).write_bytes(content)
    return read_image(folder / name)


def refusal(call: Callable, *arguments: object, **options: object) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    (line,) = str(caught.value).splitlines()
    return line


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff_of(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def lzw_tiff_of(array: np.ndarray, byteorder: str = '<', **options) -> bytes:
    """A TIFF of one strip, which tifffile alone cannot compress by LZW and Pillow not at 16 bits."""
    dtype = array.dtype.newbyteorder(byteorder)
    raw = np.frombuffer(array.astype(dtype).tobytes(), np.uint8)
    single = io.BytesIO(encoded(Image.fromarray(raw[None]), 'TIFF', compression='tiff_lzw'))
    with tifffile.TiffFile(single) as file:
        start, length = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    buffer, strip = io.BytesIO(), single.getvalue()[start : start + length]
    options |= {'shape': array.shape, 'dtype': dtype, 'byteorder': byteorder, 'rowsperstrip': len(array)}
    tifffile.imwrite(buffer, iter([strip]), compression='zlib', metadata=None, **options)
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as file:
        file.pages.first.tags['Compression'].overwrite(5)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def png_of(array: np.ndarray, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG of (H, W, C) samples of 1, 2, 4, 8 or 16 bits; `chunks` stand in front of the pixels."""
    height, width, _ = array.shape
    if bits < 8:
        planes = np.unpackbits(array.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        rows = np.packbits(planes.reshape(height, -1), axis=1)
    else:
        rows = np.ascontiguousarray(array.astype(f'>u{bits // 8}')).view(np.uint8).reshape(height, -1)
    pixels = zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes())
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + b''.join(chunks) + chunk(b'IDAT', pixels) + chunk(b'IEND', b'')


def interlaced_png_of(array: np.ndarray, bits: int) -> bytes:
    """An RGB PNG of 8 or 16 bits whose pixels come in seven passes, each a picture of its own."""
    height, width, _ = array.shape
    rows = b''
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        part = array[top::down, left::right]
        rows += b''.join(b'\0' + row.astype(f'>u{bits // 8}').tobytes() for row in part if row.size)
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, RGB, 0, 0, 1))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def exif_of(orientation: int = 1, width: int = 0, camera: str = 'A camera') -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = camera
    exif[0x8769] = {0x9003: '2020:02:02 10:00:00', 0xA002: width, 0xA003: width}
    return exif.tobytes()


def cmyk_profile(inks: dict[tuple[int, int, int, int], tuple[float, float, float]]) -> bytes:
    """An ICC profile by which inks, each 0 or 1, give a colour in Lab; those not named give white."""
    table = bytearray()
    for index in range(16):
        ink = (index >> 3 & 1, index >> 2 & 1, index >> 1 & 1, index & 1)
        light, a, b = inks.get(ink, (100, 0, 0))
        table += bytes([round(light * 2.55), round(a) + 128, round(b) + 128])
    identity = np.eye(3, dtype=int).ravel() * 65536
    ramp = bytes(range(256))
    lut = b'mft1' + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack('>9i', *identity) + ramp * 4 + bytes(table) + ramp * 3
    text = b'text' + bytes(4) + b'none\0'
    name = b'desc' + bytes(4) + struct.pack('>I', 5) + b'inks\0' + bytes(78)
    white = b'XYZ ' + bytes(4) + struct.pack('>3i', 63190, 65536, 54061)  # D50
    tags = {b'A2B0': lut, b'cprt': text, b'desc': name, b'wtpt': white}
    start, directory, body = 128 + 4 + 12 * len(tags), b'', b''
    for tag, content in tags.items():
        directory += tag + struct.pack('>II', start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(
        '>I4sI4s4s4s12s4s', start + len(body), b'none', 0x02400000, b'prtr', b'CMYK', b'Lab ', b'', b'acsp'
    )
    header = header.ljust(68, b'\0') + struct.pack('>3i', 63190, 65536, 54061)
    return header.ljust(128, b'\0') + struct.pack('>I', len(tags)) + directory + body


def rgb_of(image: ImageFile) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1], three equal channels if grey."""
    samples = image.whole()
    return np.repeat(samples[..., :1], 3, axis=2) if image.grey else samples[..., :3]


def alpha_of(image: ImageFile) -> np.ndarray | None:
    """(H, W) float32 in [0, 1], None where all is opaque."""
    return image.whole()[..., -1] if image.has_alpha else None


def enlarged(image: ImageFile, tiler: Tiler, size: tuple[int, int] | None = None) -> ImageFile:
    return replace(image, samples=enlarge(image.samples, tiler, size))


def disc(size: int = 40) -> np.ndarray:
    """(H, W, 4): a red disc whose edge is half transparent, on a transparent ground whose hidden colour is black."""
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = np.clip(size / 3 - np.hypot(row, column) + 0.5, 0, 1).astype(np.float32)
    rgb = np.where(alpha[..., None] > 0, np.float32([1, 0, 0]), 0).astype(np.float32)
    return np.dstack([rgb, alpha])
