"""What is no whole picture is refused in one line that names it."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import GREY, RGB, chunk, encoded, exif_of, noise, png_of, read, rgb_of, tiff_of
from PIL import Image

from sst.data.encoded_image import EncodedImage
from sst.upscaling.pictures import read_image
from sst.utils.errors import UserError


@pytest.mark.parametrize('dtype', [np.float32, np.float16, np.int16, np.uint32])
def test_tiff_of_other_numbers_is_refused_in_words(tmp_path, dtype):
    with pytest.raises(UserError, match=r'a\.tif: cannot be read as a picture; its samples are \d+-bit .*convert'):
        read(tmp_path, tiff_of(np.ones((4, 5), dtype)), 'a.tif')


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
    with pytest.raises(UserError, match=r'a b\.png: cannot be read as a picture; [^\n]*$'):
        read(tmp_path, content[: int(len(content) * share)], 'a b.png')


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_tiff_that_says_to_be_taller_than_it_is_is_refused(tmp_path, compression, dtype):
    content = bytearray(tiff_of(noise(10, 20, 3, dtype=dtype), photometric='rgb', compression=compression))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        place = file.pages[0].tags['ImageLength'].valueoffset
        rows = file.pages[0].tags['RowsPerStrip'].valueoffset
    struct.pack_into('<I', content, place, 1_000_000)
    for rows_per_strip in (10, 1_000_000):
        struct.pack_into('<I', content, rows, rows_per_strip)
        with pytest.raises(UserError, match='cannot be read as a picture; it is damaged'):
            read(tmp_path, bytes(content))


@pytest.mark.parametrize('bits', [8, 16])
def test_png_whose_pixels_end_early_is_refused(tmp_path, bits):
    rows = zlib.compress(bytes(2 * (1 + 5 * 3 * bits // 8)))  # 2 of 40 rows
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 5, 40, bits, RGB, 0, 0, 0))
    content = b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', rows) + chunk(b'IEND', b'')
    with pytest.raises(UserError, match='cannot be read as a picture; it is damaged'):
        read(tmp_path, content)


def test_png_with_a_flipped_bit_is_refused(tmp_path):
    content = bytearray(whole('PNG'))
    content[len(content) // 2] ^= 1
    with pytest.raises(UserError, match='damaged'):
        read(tmp_path, bytes(content))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('kind', [b'tEXt', b'pHYs', b'eXIf'])
def test_png_with_a_damaged_part_that_no_pixel_needs_is_read(tmp_path, kind, bits):
    samples = noise(7, 9, 3, dtype=np.uint16) >> (16 - bits)
    content = png_of(samples, bits, RGB, chunk(kind, b'Title\0Lake'), chunk(b'tEXt', b'Author\0Me'))
    picture = read(tmp_path, content.replace(b'Lake', b'Lime'))
    np.testing.assert_allclose(rgb_of(picture), samples / np.float32((1 << bits) - 1), atol=1e-7)
    assert [kind.decode() in note for note in picture.notes] == [True]
    assert picture.metadata.texts == {'Author': 'Me'}


@pytest.mark.parametrize('kind', [b'IHDR', b'PLTE', b'tRNS', b'IDAT'])
def test_png_with_a_damaged_part_that_pixels_need_is_refused(tmp_path, kind):
    content = bytearray(encoded(Image.fromarray(noise(9, 8, 3)).quantize(8), 'PNG', transparency=2))
    assert read(tmp_path, bytes(content)).has_alpha
    place = content.index(kind)
    length = int.from_bytes(content[place - 4 : place], 'big')
    content[place + 4 + length] ^= 1
    with pytest.raises(UserError, match='cannot be read as a picture; it is damaged'):
        read(tmp_path, bytes(content))


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
    array[40:] = 128  # also the grey that decoders put where data lacks
    content = encoded(Image.fromarray(array).convert(mode), 'JPEG', **options)
    assert sorted(read(tmp_path, content).shape[:2]) == [64, 96]
    for times in (2, 100):
        with pytest.raises(UserError, match='cannot be read as a picture; it is damaged'):
            read(tmp_path, taller(content, times))
        with pytest.raises(UserError, match='cannot be read'):
            EncodedImage(taller(content, times), 'a.jpg').whole()
    assert sorted(EncodedImage(content, 'a.jpg').shape) == [64, 96]


@pytest.mark.parametrize('name', ['a.jpg', 'a.heic'])
def test_heic_is_called_by_its_name(tmp_path, name):
    with pytest.raises(UserError, match='it is a HEIC picture: convert it'):
        read(tmp_path, b'\0\0\0\x18ftypheic' + bytes(range(256)), name)


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b'', 'it is empty'),
        (b'just a text\n', 'it is a text file'),
        (bytes(range(256)) * 9, 'another kind than PNG'),
        (b'\x89PNG\r\n\x1a\n', 'damaged'),
        (b'II*\0', 'damaged'),
        (b'\xff\xd8\xff\xe0', 'damaged'),
    ],
    ids=['empty', 'text', 'bytes', 'PNG', 'TIFF', 'JPEG'],
)
def test_what_is_no_picture_is_one_line(tmp_path, content, says):
    with pytest.raises(UserError, match=rf'^{tmp_path}/a\.png: cannot be read as a picture; [^\n]*{says}[^\n]*$'):
        read(tmp_path, content)


def test_what_is_no_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path, says in ((tmp_path, 'a folder'), (tmp_path / 'no.png', 'no such file'), (tmp_path / 'pipe', 'pipe')):
        with pytest.raises(UserError, match=rf'^{path}: [^\n]*{says}'):
            read_image(path)


@pytest.mark.parametrize('bits', [1, 16])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, bits):
    side = 30_000
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, bits, GREY, 0, 0, 0))
    content = b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(bytes(9))) + chunk(b'IEND', b'')
    with pytest.raises(UserError, match=r'30000x30000 .* 900 million, and 400 million .*--max-megapixels 900'):
        read(tmp_path, content)


def test_more_pixels_than_pillow_takes_are_read_and_its_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read(tmp_path, png_of(noise(30, 30, 3), 8, RGB)).shape == (30, 30, 3)
    assert read(tmp_path, tiff_of(noise(30, 30, 3), photometric='rgb')).shape == (30, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
