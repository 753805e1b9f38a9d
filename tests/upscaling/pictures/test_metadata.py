"""What an image file says besides its pixels is read correctly, or left out with a note."""

import struct
import zlib

import numpy as np
import pytest
from picture_files import RGB, chunk, encoded, exif_of, noise, png_of, read, rgb_of, tiff_of
from PIL import Image, ImageOps


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('file_format', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'PNG of 16 bits', 'TIFF of 16 bits'])
def test_orientation(tmp_path, orientation, file_format):
    samples = np.zeros((48, 80, 3), np.uint8)
    samples[:16, :24] = (255, 0, 0)
    samples[32:, :24] = (0, 255, 0)
    image, exif, deep = Image.fromarray(samples), exif_of(orientation), samples.astype(np.uint16) * 257
    if file_format == 'PNG of 16 bits':
        chunks = chunk(b'eXIf', exif[6:]), chunk(b'pHYs', struct.pack('>IIB', 11811, 5906, 1))
        content = png_of(deep, 16, RGB, *chunks)
    elif file_format == 'TIFF of 16 bits':
        tags = [(274, 'H', 1, orientation, True), (272, 's', 0, 'A camera', True)]
        content = tiff_of(deep, photometric='rgb', extratags=tags, resolution=(300, 150), resolutionunit=2)
    else:
        lossless = {'lossless': True} if file_format == 'WEBP' else {}
        content = encoded(image, file_format, dpi=(300, 150), exif=exif, **lossless)
    image = Image.fromarray(samples)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    result = read(tmp_path, content)
    assert result.shape == expected.shape
    assert np.abs(rgb_of(result) * 255 - expected).mean() < 2
    exif = Image.Exif()
    exif.load(result.metadata.exif)
    assert (exif.get(0x0112, 1), exif[0x0110]) == (1, 'A camera')
    if file_format != 'WEBP':
        assert result.metadata.dpi == pytest.approx((150, 300) if orientation >= 5 else (300, 150), abs=0.1)


def test_orientation_of_xmp(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    image = read(tmp_path, encoded(Image.fromarray(noise(4, 7, 3)), 'JPEG', xmp=xmp))
    assert image.shape == (7, 4, 3)
    assert image.metadata.xmp == xmp.replace(b'"6"', b'"1"')


def test_makers_notes_stay_where_their_offsets_lead(tmp_path):
    exif = exif_of(6) + b'behind everything, found by an offset'
    image = read(tmp_path, encoded(Image.fromarray(noise(4, 7, 3)), 'JPEG', exif=exif))
    assert len(image.metadata.exif) == len(exif) - 6
    assert image.metadata.exif.endswith(exif[-37:])


@pytest.mark.parametrize('exif', [exif_of(6)[:40], b'Exif\0\0nonsense', b'Exif\0\0II*\0\xff\xff\xff\xff'])
@pytest.mark.parametrize('file_format', ['JPEG', 'PNG'])
def test_damaged_exif_data_is_left_out_with_a_note(tmp_path, exif, file_format):
    image = read(tmp_path, encoded(Image.fromarray(noise(4, 7, 3)), file_format, exif=exif))
    assert (image.shape, image.metadata.exif, len(image.notes)) == ((4, 7, 3), None, 1)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('times', [1, 300_000], ids=['short', 'long'])
def test_what_a_png_says(tmp_path, bits, times):
    text, profile = 'workflow ' * times, noise(10 * times).tobytes()
    chunks = (
        chunk(b'gAMA', struct.pack('>I', 45455)),
        chunk(b'iCCP', b'name\0\0' + zlib.compress(profile)),
        chunk(b'tEXt', b'parameters\0a photo, steps 20'),
        chunk(b'zTXt', b'Comment\0\0' + zlib.compress(text.encode())),
        chunk(b'iTXt', b'Title\0\0\0\0\0' + 'Größe \N{GREEK SMALL LETTER ALPHA}'.encode()),
        chunk(b'iTXt', b'XML:com.adobe.xmp\0\1\0\0\0' + zlib.compress(text.encode())),
    )
    metadata = read(tmp_path, png_of(noise(4, 5, 3, dtype=np.uint16) >> (16 - bits), bits, RGB, *chunks)).metadata
    texts = {'parameters': 'a photo, steps 20', 'Comment': text, 'Title': 'Größe \N{GREEK SMALL LETTER ALPHA}'}
    assert metadata.texts == texts
    assert (metadata.xmp, metadata.icc, metadata.png_colour) == (text.encode(), profile, chunks[0])
