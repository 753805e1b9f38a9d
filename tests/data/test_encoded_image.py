"""A crop of a picture is the crop of what OpenCV reads, whatever the format."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sst.data.encoded_image import EncodedImage
from sst.utils.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (23, 31, 4), dtype=np.uint8)
RGB = Image.fromarray(NOISE[..., :3].copy())


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return exif


def encoded(picture, kind='PNG', **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


PICTURES = {
    'PNG': encoded(RGB),
    'PNG that is not compressed': encoded(RGB, compress_level=0),
    'PNG in many chunks': cv2.imencode('.png', cv2.resize(NOISE[..., :3], (200, 150)))[1].tobytes(),
    'PNG with EXIF': encoded(RGB, exif=turned()),
    'animated PNG': encoded(RGB, save_all=True, append_images=[RGB.rotate(180)]),
    'transparent PNG': encoded(Image.fromarray(NOISE)),
    'grey PNG': encoded(RGB.convert('L')),
    'palette PNG': encoded(RGB.quantize(16)),
    '16 bit PNG': cv2.imencode('.png', NOISE[..., :3].astype(np.uint16) * 257)[1].tobytes(),
    '16 bit grey PNG': cv2.imencode('.png', NOISE[..., 0].astype(np.uint16) * 257)[1].tobytes(),
    'JPEG': encoded(RGB, 'JPEG'),
    'JPEG with EXIF': encoded(RGB, 'JPEG', exif=turned()),
    'grey JPEG': encoded(RGB.convert('L'), 'JPEG'),
    'WebP': encoded(RGB, 'WEBP'),
    'BMP': encoded(RGB, 'BMP'),
    'TIFF': encoded(RGB, 'TIFF'),
}


def read_by_opencv(content):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize('content', PICTURES.values(), ids=PICTURES)
def test_crops_are_opencv_s(content):
    expected = read_by_opencv(content)
    picture = EncodedImage(content, 'x')
    assert picture.shape == expected.shape[:2]
    assert np.array_equal(picture.whole(), expected)
    assert np.array_equal(picture.crop(5, 3, 9, 7), expected[5:14, 3:10])


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.data())
@settings(max_examples=50)
def test_any_crop_of_a_png(height, width, level, data):
    array = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50))
    picture = EncodedImage(encoded(Image.fromarray(array), compress_level=level), 'x')
    assert np.array_equal(picture.crop(top, left, rows, columns), array[top : top + rows, left : left + columns])


def interlaced():
    """A PNG of 1 x 1 pixels that calls itself interlaced; of one pixel both orders are the same."""

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 2, 0, 0, 1))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(b'\0\1\2\3')) + chunk(b'IEND', b'')


def test_interlaced_png():
    assert EncodedImage(interlaced(), 'x').whole().tolist() == [[[1, 2, 3]]]


PNG = PICTURES['PNG']
FLIPPED = PNG[:100] + bytes([PNG[100] ^ 1]) + PNG[101:]


@pytest.mark.parametrize(
    'content',
    [b'', b'hello', PNG[:20], PNG[:-30], PNG[:200], FLIPPED, PICTURES['JPEG'][:-40], PICTURES['grey JPEG'][:-40]],
    ids=['empty', 'text', 'header', 'without end', 'half', 'one bit flipped', 'half a JPEG', 'half a grey JPEG'],
)
def test_no_picture_is_one_line(content):
    with pytest.raises(UserError, match=r'^picture a/b\.png cannot be read: .*damaged or no picture; [^\n]+$'):
        EncodedImage(content, 'a/b.png').whole()


def test_a_kind_whose_size_cannot_be_told_is_refused():
    _, content = cv2.imencode('.hdr', np.zeros((4, 4, 3), np.float32))
    with pytest.raises(UserError):
        EncodedImage(content.tobytes(), 'a.png').whole()


def claiming(content: bytes, width: int, height: int) -> bytes:
    """A PNG whose header, and nothing else, is of that size."""
    header = b'IHDR' + struct.pack('>II', width, height) + content[24:29]
    return content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]


@pytest.mark.parametrize('kind', ['PNG', 'grey PNG', 'palette PNG', '16 bit PNG'])
@pytest.mark.parametrize(('width', 'height'), [(60_000, 60_000), (30_000, 30_000), (2_000_000, 300)])
def test_a_bomb_is_refused_before_it_is_decoded(kind, width, height):
    for read in (EncodedImage.whole, lambda picture: picture.shape, lambda picture: picture.crop(0, 0, 9, 9)):
        with pytest.raises(UserError, match=rf'^picture a\.png cannot be read: [^\n]*{width}x{height}[^\n]*$'):
            read(EncodedImage(claiming(PICTURES[kind], width, height), 'a.png'))


@pytest.mark.parametrize('content', PICTURES.values(), ids=PICTURES)
def test_the_limit_of_pixels_is_an_option(content):
    height, width = EncodedImage(content, 'x').shape
    assert EncodedImage(content, 'x', width * height / 1e6).whole().shape == (height, width, 3)
    with pytest.raises(UserError, match='max_megapixels'):
        EncodedImage(content, 'x', (width * height - 1) / 1e6).whole()


def test_a_damaged_text_harms_no_pixel():
    text = b'tEXtTitle\0Lake'
    damaged = PNG[:33] + struct.pack('>I', len(text) - 4) + text + bytes(4) + PNG[33:]
    assert np.array_equal(EncodedImage(damaged, 'x').whole(), NOISE[..., :3])
