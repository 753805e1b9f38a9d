"""The pixels of any usual image file are read correctly."""

import io
import struct

import cv2
import numpy as np
import pytest
import pyvips
from picture_files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    alpha_of,
    chunk,
    cmyk_profile,
    encoded,
    interlaced_png_of,
    noise,
    png_of,
    read,
    refusal,
    rgb_of,
    tiff_of,
)
from PIL import Image, ImageOps

from sst.upscaling.pictures import ImageFile


def check(image: ImageFile, samples: np.ndarray, bits: int) -> None:
    """An image is exactly these (H, W, C) samples: grey, grey and alpha, RGB or RGBA."""
    channels, largest = samples.shape[2], np.float32((1 << bits) - 1)
    assert (image.bits, image.shape[2]) == (max(bits, 8), channels)
    np.testing.assert_allclose(image.whole(), samples / largest, atol=1e-7)


@pytest.mark.parametrize('shape', [(1, 1), (3, 50), (37, 21)])
@pytest.mark.parametrize(
    ('colour', 'channels', 'bits'),
    [
        *((GREY, 1, bits) for bits in (1, 2, 4, 8, 16)),
        *((colour, channels, bits) for colour, channels in ((GREY_ALPHA, 2), (RGB, 3), (RGBA, 4)) for bits in (8, 16)),
    ],
)
def test_png(tmp_path, shape, colour, channels, bits):
    samples = noise(*shape, channels, dtype=np.uint16) >> (16 - bits)
    check(read(tmp_path, png_of(samples, bits, colour)), samples, bits)
    if colour == RGB:
        check(read(tmp_path, interlaced_png_of(samples, bits)), samples, bits)


@pytest.mark.parametrize(('colour', 'bits'), [*((GREY, bits) for bits in (1, 2, 4, 8, 16)), (RGB, 8), (RGB, 16)])
def test_png_with_one_transparent_colour(tmp_path, colour, bits):
    samples = noise(20, 20, 3 if colour == RGB else 1, dtype=np.uint16) >> (16 - bits)
    samples[2:4, 3:5] = samples[0, 0]
    key = struct.pack(f'>{samples.shape[2]}H', *samples[0, 0].tolist())
    opaque = (samples != samples[0, 0]).any(axis=2, keepdims=True)
    expected = np.concatenate([samples, opaque * ((1 << bits) - 1)], axis=2)
    check(read(tmp_path, png_of(samples, bits, colour, chunk(b'tRNS', key))), expected, bits)


@pytest.mark.parametrize('transparency', [b'', bytes([0, 255, 128])])
def test_png_with_a_palette(tmp_path, transparency):
    colours = noise(4, 3)
    alphas = np.frombuffer(transparency.ljust(4, b'\xff'), np.uint8)
    indices = noise(7, 6, 1) % 4
    chunks = [chunk(b'PLTE', colours.tobytes())] + ([chunk(b'tRNS', transparency)] if transparency else [])
    expected = np.concatenate([colours, alphas[:, None]], axis=1) if transparency else colours
    check(read(tmp_path, png_of(indices, 2, PALETTE, *chunks)), expected[indices[..., 0]], 8)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'compression': 'zlib', 'predictor': True},
        {'tile': (16, 32)},
        {'rowsperstrip': 5},
        {'byteorder': '>'},
        {'planarconfig': 'separate'},
    ],
    ids=['plain', 'deflate', 'tiles', 'strips', 'big-endian', 'planes'],
)
def test_tiff(tmp_path, dtype, channels, options):
    if 'planarconfig' in options and channels < 3:
        pytest.skip('tifffile writes planes of RGB alone')
    samples = noise(37, 45, channels, dtype=dtype)
    content = tiff_of(
        np.moveaxis(samples, 2, 0) if 'planarconfig' in options else samples if channels > 1 else samples[..., 0],
        photometric='rgb' if channels > 2 else 'minisblack',
        extrasamples=['unassalpha'] if channels in (2, 4) else None,
        **options,
    )
    check(read(tmp_path, content), samples, 8 * samples.itemsize)


@pytest.mark.parametrize('compression', ['raw', 'tiff_lzw', 'packbits', 'tiff_adobe_deflate', 'jpeg'])
@pytest.mark.parametrize('mode', ['L', 'RGB', 'CMYK'])
def test_tiff_of_libtiff(tmp_path, compression, mode):
    image = Image.fromarray(cv2.GaussianBlur(noise(300, 400, 3), (0, 0), 9)).convert(mode)
    content = encoded(image, 'TIFF', compression=compression)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
    assert (np.rint(rgb_of(read(tmp_path, content)) * 255) == expected).all()


def test_tiff_whose_zero_is_white(tmp_path):
    samples = noise(5, 6, dtype=np.uint16)
    check(read(tmp_path, tiff_of(samples, photometric='miniswhite')), 65535 - samples[..., None], 16)


def test_tiff_whose_colours_are_multiplied_by_alpha(tmp_path):
    colours, alpha = noise(20, 20, 3, dtype=np.uint16), noise(20, 20, 1, dtype=np.uint16) | 0x4000
    multiplied = np.concatenate([np.rint(colours * (alpha / 65535)).astype(np.uint16), alpha], axis=2)
    image = read(tmp_path, tiff_of(multiplied, photometric='rgb', extrasamples=['assocalpha']))
    np.testing.assert_allclose(rgb_of(image), colours / 65535, atol=4 / 65535)


KINDS = {'.avif': 'AVIF', '.jp2': 'JPEG2000', '.tga': 'TGA', '.ppm': 'PPM', '.qoi': 'QOI', '.dds': 'DDS'}
KINDS |= {'.bmp': 'BMP', '.gif': 'GIF', '.tif': 'TIFF', '.webp': 'WEBP'}


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA'])
@pytest.mark.parametrize('ending', KINDS)
def test_other_formats_are_read_as_pillow_reads_them(tmp_path, ending, mode):
    image = Image.fromarray(noise(16, 21, 4)).convert(mode)
    try:
        content = encoded(image, KINDS[ending], **({'lossless': True} if ending == '.webp' else {}))
    except (OSError, ValueError):
        pytest.skip(f'no {mode} in {ending}')
    with Image.open(io.BytesIO(content), formats=[KINDS[ending]]) as opened:
        expected, grey = np.asarray(opened.convert('RGBA')), opened.mode in ('1', 'L', 'LA')
    result = read(tmp_path, content, f'a{ending}')
    alpha = np.ones((16, 21)) if alpha_of(result) is None else alpha_of(result)
    assert (np.rint(np.dstack([rgb_of(result), alpha]) * 255) == expected).all()
    assert result.grey == grey
    for share in (0.3, 0.7):
        refusal(read, tmp_path, content[: int(share * len(content))], f'a{ending}')


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('ending', ['.pgm', '.jp2', '.tif'])
def test_16_bits_stay(tmp_path, ending, channels):
    samples = noise(32, 40, channels, dtype=np.uint16)
    samples[0] = 65535
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000, cv2.IMWRITE_TIFF_COMPRESSION, 5]  # lossless; LZW
    if ending == '.pgm' and channels > 1:
        pytest.skip('PGM is grey')
    image = read(tmp_path, cv2.imencode(ending, samples[..., order], options)[1].tobytes(), f'a{ending}')
    check(image, samples[..., : image.shape[2]], 16)
    assert image.shape[2] == channels or (ending, channels) == ('.tif', 4)  # OpenCV does not say what the fourth is


def test_bits_that_are_lost_are_noted(tmp_path):
    samples = noise(5, 6, 3, dtype=np.uint16)
    image = read(tmp_path, b'P6 6 5 65535\n' + samples.astype('>u2').tobytes(), 'a.ppm')
    assert (image.bits, len(image.notes)) == (8, 1)
    np.testing.assert_allclose(rgb_of(image), samples / np.float32(65535), atol=1 / 255)


@pytest.mark.parametrize('bits', [8, 10, 12])
@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_avif_is_turned_upright_once_and_keeps_its_bits(tmp_path, orientation, bits):
    image = Image.new('RGB', (40, 20), 'red')
    image.paste('blue', (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if bits == 8:
        content = encoded(image, 'AVIF', exif=exif.tobytes(), quality=100, subsampling='4:4:4')
    else:
        deep = pyvips.Image.new_from_array(np.asarray(image).astype(np.uint16) * 257, interpretation='rgb16')
        deep.set_type(pyvips.GValue.gint_type, 'orientation', orientation)
        content = deep.heifsave_buffer(compression='av1', bitdepth=bits, lossless=True)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, 'PNG', exif=exif)))))
    result = read(tmp_path, content, 'a.avif')
    assert (result.shape, result.bits) == (expected.shape, 8 if bits == 8 else 16)
    np.testing.assert_allclose(result.whole(), expected / 255, atol=0.1)


@pytest.mark.parametrize('file_format', ['GIF', 'WEBP', 'PNG', 'TIFF'])
def test_the_first_of_several_frames_or_pages_is_read_with_a_note(tmp_path, file_format):
    frames = [Image.new('RGB', (5, 4), colour) for colour in ('red', 'blue', 'green')]
    image = read(tmp_path, encoded(frames[0], file_format, save_all=True, append_images=frames[1:]))
    np.testing.assert_allclose(rgb_of(image), np.broadcast_to([1.0, 0, 0], (4, 5, 3)), atol=0.01)
    assert len(image.notes) == 1


def test_a_wrong_ending_does_not_matter(tmp_path):
    samples = noise(4, 5, 3)
    image = read(tmp_path, png_of(samples, 8, RGB), 'Süßes Foto – Größe.jpg')
    check(image, samples, 8)
    assert image.format == 'PNG'


@pytest.mark.parametrize('colour', [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255), (30, 90, 10, 60)])
@pytest.mark.parametrize('profile', [None, b'nonsense' * 20], ids=['none', 'unusable'])
def test_cmyk_without_a_usable_profile(tmp_path, colour, profile):
    content = encoded(Image.new('CMYK', (16, 16), colour), 'JPEG', quality=100, icc_profile=profile)
    image = read(tmp_path, content)
    cyan, magenta, yellow, black = (1 - value / 255 for value in colour)
    expected = np.array([cyan, magenta, yellow]) * black
    np.testing.assert_allclose(rgb_of(image), np.broadcast_to(expected, (16, 16, 3)), atol=0.02)
    assert (len(image.notes), image.metadata.icc) == (1, None)


def test_ycck_jpeg(tmp_path):
    ycc = Image.new('RGB', (16, 16), (200, 90, 40)).convert('YCbCr')
    inverted = Image.merge('CMYK', [ImageOps.invert(band) for band in (*ycc.split(), Image.new('L', (16, 16), 255))])
    content = encoded(inverted, 'JPEG', quality=100)
    adobe = content.index(b'Adobe\0')
    assert content[adobe + 11] == 0
    content = content[: adobe + 11] + b'\2' + content[adobe + 12 :]  # the same numbers, called YCCK
    # In Adobe's files YCC stands for the inks.
    np.testing.assert_allclose(rgb_of(read(tmp_path, content))[8, 8] * 255, (55, 165, 215), atol=4)


@pytest.mark.parametrize('file_format', ['JPEG', 'TIFF'])
def test_cmyk_goes_through_its_profile(tmp_path, file_format):
    lab_of_red = (53, 80, 67)
    profile = cmyk_profile({(1, 0, 0, 0): lab_of_red, (0, 0, 0, 1): (0, 0, 0)})
    for colour, expected in (((255, 0, 0, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0)), ((0,) * 4, (255, 255, 255))):
        image = read(tmp_path, encoded(Image.new('CMYK', (16, 16), colour), file_format, icc_profile=profile))
        np.testing.assert_allclose(rgb_of(image)[8, 8] * 255, expected, atol=8)
        assert (len(image.notes), image.metadata.icc) == (1, None)
