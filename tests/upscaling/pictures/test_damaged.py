"""A file that is no whole image is refused in one line that names it."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import GREY, RGB, chunk, encoded, exif_of, noise, png_of, read, refusal, rgb_of, tiff_of
from PIL import Image

from sst.data.encoded_image import EncodedImage
from sst.upscaling.pictures import read_image
from sst.utils.errors import UserError


def whole(kind: str) -> bytes:
    image = Image.fromarray(cv2.GaussianBlur(noise(80, 90, 3), (5, 5), 1))
    if kind == 'PNG of 16 bits':
        return png_of(np.asarray(image).astype(np.uint16) * 257, 16, RGB)
    if kind == 'TIFF of 16 bits':
        return tiff_of(np.asarray(image).astype(np.uint16) * 257, photometric='rgb', rowsperstrip=8)
    return encoded(image, kind)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.97])
@pytest.mark.parametrize('kind', ['PNG', 'PNG of 16 bits', 'JPEG', 'WEBP', 'TIFF', 'TIFF of 16 bits', 'BMP', 'GIF'])
def test_truncated_files_are_refused_and_not_half_read(tmp_path, kind, share):
    content = whole(kind)
    assert rgb_of(read(tmp_path, content)).shape == (80, 90, 3)
    assert str(tmp_path / 'a b.png') in refusal(read, tmp_path, content[: int(len(content) * share)], 'a b.png')


def png_head(width: int, height: int, bits: int, colour: int = RGB) -> bytes:
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0))


def with_flipped_bit(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_two_rows_of_forty(bits: int) -> bytes:
    rows = chunk(b'IDAT', zlib.compress(bytes(2 * (1 + 5 * 3 * bits // 8))))
    return png_head(5, 40, bits) + rows + chunk(b'IEND', b'')


@pytest.mark.parametrize(
    'content',
    [
        *(tiff_of(np.ones((4, 5), dtype)) for dtype in (np.float32, np.float16, np.int16, np.uint32)),
        with_two_rows_of_forty(8),
        with_two_rows_of_forty(16),
        with_flipped_bit(whole('PNG'), len(whole('PNG')) // 2),
        b'',
        b'just a text\n',
        bytes(range(256)) * 9,
        b'\x89PNG\r\n\x1a\n',
        b'II*\0',
        b'\xff\xd8\xff\xe0',
        b'\0\0\0\x18ftypheic' + bytes(range(256)),
    ],
    ids=[
        'float32',
        'float16',
        'int16',
        'uint32',
        'rows',
        'rows16',
        'bit',
        'empty',
        'text',
        'bytes',
        'PNG',
        'TIFF',
        'JPEG',
        'HEIC',
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content):
    assert refusal(read, tmp_path, content, 'a.tif').startswith(f'{tmp_path / "a.tif"}: ')


def test_paths_that_are_no_files_are_refused_in_one_line(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path, tmp_path / 'no.png', tmp_path / 'pipe'):
        assert refusal(read_image, path).startswith(f'{path}: ')


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_tiff_that_claims_more_height_than_it_has_is_refused(tmp_path, compression, dtype):
    content = bytearray(tiff_of(noise(10, 20, 3, dtype=dtype), photometric='rgb', compression=compression))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        height, rows = (file.pages[0].tags[name].valueoffset for name in ('ImageLength', 'RowsPerStrip'))
    struct.pack_into('<I', content, height, 1_000_000)
    for rows_per_strip in (10, 1_000_000):
        struct.pack_into('<I', content, rows, rows_per_strip)
        refusal(read, tmp_path, bytes(content))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('kind', [b'tEXt', b'pHYs', b'eXIf'])
def test_png_with_a_damaged_chunk_that_no_pixel_needs_is_read(tmp_path, kind, bits):
    samples = noise(7, 9, 3, dtype=np.uint16) >> (16 - bits)
    content = png_of(samples, bits, RGB, chunk(kind, b'Title\0Lake'), chunk(b'tEXt', b'Author\0Me'))
    image = read(tmp_path, content.replace(b'Lake', b'Lime'))
    np.testing.assert_allclose(rgb_of(image), samples / np.float32((1 << bits) - 1), atol=1e-7)
    assert [kind.decode() in note for note in image.notes] == [True]
    assert image.metadata.texts == {'Author': 'Me'}


@pytest.mark.parametrize('kind', [b'IHDR', b'PLTE', b'tRNS', b'IDAT'])
def test_png_with_a_damaged_chunk_that_pixels_need_is_refused(tmp_path, kind):
    content = encoded(Image.fromarray(noise(9, 8, 3)).quantize(8), 'PNG', transparency=2)
    assert read(tmp_path, content).has_alpha
    place = content.index(kind)
    refusal(read, tmp_path, with_flipped_bit(content, place + 4 + int.from_bytes(content[place - 4 : place], 'big')))


def taller(jpeg: bytes, times: int) -> bytes:
    """A JPEG whose header claims so many times its height."""
    content = bytearray(jpeg)
    place = next(content.find(mark) for mark in (b'\xff\xc0', b'\xff\xc2') if mark in content) + 5
    height = int.from_bytes(content[place : place + 2], 'big')
    content[place : place + 2] = (times * height).to_bytes(2, 'big')
    return bytes(content)


JPEGS = {
    'usual': {},
    'progressive': {'progressive': True},
    'restarts': {'restart_marker_blocks': 2},
    'progressive with restarts': {'progressive': True, 'restart_marker_rows': 1},
    'turned': {'exif': exif_of(6)},
}


@pytest.mark.parametrize('mode', ['L', 'RGB', 'CMYK'])
@pytest.mark.parametrize('options', JPEGS.values(), ids=JPEGS)
def test_jpeg_that_claims_more_than_its_data_holds_is_refused(tmp_path, options, mode):
    array = cv2.GaussianBlur(noise(64, 96, 3), (5, 5), 1)
    array[40:] = 128  # also the grey that decoders put where data is missing
    content = encoded(Image.fromarray(array).convert(mode), 'JPEG', **options)
    assert sorted(read(tmp_path, content).shape[:2]) == [64, 96]
    for times in (2, 100):
        refusal(read, tmp_path, taller(content, times))
        with pytest.raises(UserError):
            EncodedImage(taller(content, times), 'a.jpg').whole()
    assert sorted(EncodedImage(content, 'a.jpg').shape) == [64, 96]


@pytest.mark.parametrize('bits', [1, 16])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, bits):
    content = png_head(30_000, 30_000, bits, GREY) + chunk(b'IDAT', zlib.compress(bytes(9))) + chunk(b'IEND', b'')
    line = refusal(read, tmp_path, content)
    assert all(part in line for part in ('30000x30000', '400', '--max-megapixels 900'))


def test_more_pixels_than_pillow_takes_are_read_and_its_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read(tmp_path, png_of(noise(30, 30, 3), 8, RGB)).shape == (30, 30, 3)
    assert read(tmp_path, tiff_of(noise(30, 30, 3), photometric='rgb')).shape == (30, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
