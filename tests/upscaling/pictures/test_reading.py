"""The pixels of any usual picture file are read right."""

import io
import struct

import cv2
import numpy as np
import pytest
import pyvips
import tifffile
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
    rgb_of,
    tiff_of,
)
from PIL import Image, ImageOps

from sst.upscaling.pictures import ImageFile
from sst.utils.errors import UserError


def check(picture: ImageFile, samples: np.ndarray, bits: int) -> None:
    """A picture is exactly these (H, W, C) samples: grey, grey and alpha, RGB or RGBA."""
    channels, largest = samples.shape[2], (1 << bits) - 1
    assert picture.bits == max(bits, 8)
    assert picture.grey == (channels < 3)
    colours = samples[..., : 3 if channels > 2 else 1] / np.float32(largest)
    assert rgb_of(picture).dtype == np.float32
    np.testing.assert_allclose(rgb_of(picture), np.broadcast_to(colours, rgb_of(picture).shape), atol=1e-7)
    if channels in (2, 4):
        np.testing.assert_allclose(alpha_of(picture), samples[..., -1] / np.float32(largest), atol=1e-7)
    else:
        assert alpha_of(picture) is None


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


@pytest.mark.parametrize('bits', [1, 2, 4, 8, 16])
def test_png_with_a_transparent_grey(tmp_path, bits):
    samples = noise(20, 20, 1, dtype=np.uint16) >> (16 - bits)
    key = int(samples[3, 4, 0])
    picture = read(tmp_path, png_of(samples, bits, GREY, chunk(b'tRNS', struct.pack('>H', key))))
    alpha = np.where(samples == key, 0, (1 << bits) - 1)
    check(picture, np.concatenate([samples, alpha], axis=2), bits)


@pytest.mark.parametrize('bits', [8, 16])
def test_png_with_a_transparent_colour(tmp_path, bits):
    samples = noise(9, 8, 3, dtype=np.uint16) >> (16 - bits)
    samples[2:4, 3:5] = samples[0, 0]
    content = png_of(samples, bits, RGB, chunk(b'tRNS', struct.pack('>3H', *samples[0, 0].tolist())))
    opaque = (samples != samples[0, 0]).any(axis=2, keepdims=True)
    check(read(tmp_path, content), np.concatenate([samples, opaque * ((1 << bits) - 1)], axis=2), bits)


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
    [{}, {'compression': 'zlib', 'predictor': True}, {'tile': (16, 32)}, {'rowsperstrip': 5}, {'byteorder': '>'}],
    ids=['plain', 'deflate', 'tiles', 'strips', 'big-endian'],
)
def test_tiff(tmp_path, dtype, channels, options):
    samples = noise(37, 45, channels, dtype=dtype)
    content = tiff_of(
        samples if channels > 1 else samples[..., 0],
        photometric='rgb' if channels > 2 else 'minisblack',
        extrasamples=['unassalpha'] if channels in (2, 4) else None,
        **options,
    )
    check(read(tmp_path, content), samples, 8 * samples.itemsize)


@pytest.mark.parametrize('channels', [3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_tiff_in_planes(tmp_path, dtype, channels):
    planes = noise(channels, 12, 9, dtype=dtype)
    extra = ['unassalpha'] if channels == 4 else None
    content = tiff_of(planes, photometric='rgb', planarconfig='separate', extrasamples=extra)
    check(read(tmp_path, content), np.moveaxis(planes, 0, 2), 8 * planes.itemsize)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_tiff_compressed_by_lzw(tmp_path, channels):
    samples = noise(12, 9, channels, dtype=np.uint16)
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    content = cv2.imencode('.tif', samples[..., order], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.pages[0].compression == 5
    picture = read(tmp_path, content)
    if channels == 4 and alpha_of(picture) is None:  # OpenCV does not say what the fourth channel is
        samples = samples[..., :3]
    check(picture, samples, 16)


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
    picture = read(tmp_path, tiff_of(multiplied, photometric='rgb', extrasamples=['assocalpha']))
    np.testing.assert_allclose(rgb_of(picture), colours / 65535, atol=4 / 65535)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_tiff_of_several_pages_gives_the_first(tmp_path, dtype):
    pages = noise(3, 8, 9, 3, dtype=dtype)
    picture = read(tmp_path, tiff_of(pages, photometric='rgb'))
    check(picture, pages[0], 8 * pages.itemsize)
    assert picture.notes == ('only the first of 3 pages is enlarged',)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA'])
@pytest.mark.parametrize('file_format', ['BMP', 'GIF', 'TIFF', 'WEBP'])
def test_other_formats_are_read_as_pillow_reads_them(tmp_path, file_format, mode):
    image = Image.fromarray(noise(16, 21, 4)).convert(mode)
    try:
        content = encoded(image, file_format, **({'lossless': True} if file_format == 'WEBP' else {}))
    except OSError:
        pytest.skip(f'no {mode} in {file_format}')
    expected = Image.open(io.BytesIO(content)).convert('RGBA')
    picture = read(tmp_path, content)
    alpha = np.ones((16, 21)) if alpha_of(picture) is None else alpha_of(picture)
    assert (np.rint(np.dstack([rgb_of(picture), alpha]) * 255) == np.asarray(expected)).all()
    assert picture.grey == (Image.open(io.BytesIO(content)).mode in ('1', 'L', 'LA'))


KINDS = {'.avif': 'AVIF', '.jp2': 'JPEG2000', '.tga': 'TGA', '.ppm': 'PPM', '.qoi': 'QOI', '.dds': 'DDS'}


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA'])
@pytest.mark.parametrize('ending', KINDS)
def test_what_phones_cameras_and_games_write(tmp_path, ending, mode):
    image = Image.fromarray(noise(16, 21, 4)).convert(mode)
    try:
        content = encoded(image, KINDS[ending])
    except (OSError, ValueError):
        pytest.skip(f'no {mode} in {ending}')
    with Image.open(io.BytesIO(content), formats=[KINDS[ending]]) as opened:
        expected = np.asarray(opened.convert('RGBA'))
    if ending != '.avif' and not (ending == '.ppm' and mode == 'RGBA'):
        assert (expected == np.asarray(image.convert('RGBA'))).all()
    picture = read(tmp_path, content, f'a{ending}')
    alpha = np.ones((16, 21)) if alpha_of(picture) is None else alpha_of(picture)
    assert (np.rint(np.dstack([rgb_of(picture), alpha]) * 255) == expected).all()
    for share in (0.3, 0.7):
        with pytest.raises(UserError, match=rf'a{ending}: cannot be read as a picture'):
            read(tmp_path, content[: int(share * len(content))], f'a{ending}')


def test_16_bits_of_pgm_stay(tmp_path):
    samples = noise(16, 21, dtype=np.uint16)
    check(read(tmp_path, encoded(Image.fromarray(samples), 'PPM'), 'a.pgm'), samples[..., None], 16)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_16_bits_of_jpeg_2000_stay(tmp_path, channels):
    samples = noise(32, 40, channels, dtype=np.uint16)
    samples[0] = 65535
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    check(read(tmp_path, cv2.imencode('.jp2', samples[..., order], options)[1].tobytes(), 'a.jp2'), samples, 16)


def test_bits_that_are_lost_are_told(tmp_path):
    samples = noise(5, 6, 3, dtype=np.uint16)
    picture = read(tmp_path, b'P6 6 5 65535\n' + samples.astype('>u2').tobytes(), 'a.ppm')
    assert (picture.bits, len(picture.notes)) == (8, 1)
    np.testing.assert_allclose(rgb_of(picture), samples / np.float32(65535), atol=1 / 255)


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
    picture = read(tmp_path, content, 'a.avif')
    assert picture.shape == expected.shape
    assert picture.bits == (8 if bits == 8 else 16)
    np.testing.assert_allclose(picture.whole(), expected / 255, atol=0.1)


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path):
    frames = [Image.new('RGB', (5, 4), colour) for colour in ('red', 'blue', 'green')]
    for file_format in ('GIF', 'WEBP', 'PNG'):
        content = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
        picture = read(tmp_path, content)
        np.testing.assert_allclose(rgb_of(picture), np.broadcast_to([1.0, 0, 0], (4, 5, 3)), atol=0.01)
        assert picture.notes == ('only the first of 3 frames is enlarged',)


def test_a_wrong_ending_does_not_matter(tmp_path):
    samples = noise(4, 5, 3)
    picture = read(tmp_path, png_of(samples, 8, RGB), 'Süßes Foto – Größe.jpg')
    check(picture, samples, 8)
    assert picture.format == 'PNG'


@pytest.mark.parametrize('colour', [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255), (30, 90, 10, 60)])
def test_cmyk_jpeg_without_a_profile(tmp_path, colour):
    picture = read(tmp_path, encoded(Image.new('CMYK', (16, 16), colour), 'JPEG', quality=100))
    cyan, magenta, yellow, black = (1 - value / 255 for value in colour)
    expected = np.array([cyan, magenta, yellow]) * black
    np.testing.assert_allclose(rgb_of(picture), np.broadcast_to(expected, (16, 16, 3)), atol=0.02)
    assert picture.notes == ('CMYK is converted to RGB roughly: it has no colour profile',)


def test_ycck_jpeg(tmp_path):
    ycc = Image.new('RGB', (16, 16), (200, 90, 40)).convert('YCbCr')
    inverted = Image.merge('CMYK', [ImageOps.invert(band) for band in (*ycc.split(), Image.new('L', (16, 16), 255))])
    content = encoded(inverted, 'JPEG', quality=100)
    adobe = content.index(b'Adobe\0')
    assert content[adobe + 11] == 0
    content = content[: adobe + 11] + b'\2' + content[adobe + 12 :]  # the same numbers, called YCCK
    picture = read(tmp_path, content)
    # Adobe's: what YCC stands for is the inks
    np.testing.assert_allclose(rgb_of(picture)[8, 8] * 255, (55, 165, 215), atol=4)


@pytest.mark.parametrize('file_format', ['JPEG', 'TIFF'])
def test_cmyk_goes_through_its_profile(tmp_path, file_format):
    lab_of_red = (53, 80, 67)
    profile = cmyk_profile({(1, 0, 0, 0): lab_of_red, (0, 0, 0, 1): (0, 0, 0)})
    for colour, expected in (((255, 0, 0, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0)), ((0,) * 4, (255, 255, 255))):
        content = encoded(Image.new('CMYK', (16, 16), colour), file_format, icc_profile=profile)
        picture = read(tmp_path, content)
        np.testing.assert_allclose(rgb_of(picture)[8, 8] * 255, expected, atol=8)
        assert picture.metadata.icc is None
        assert picture.notes == ('CMYK is converted to sRGB by its colour profile',)


def test_a_cmyk_profile_that_is_none_is_left_out(tmp_path):
    content = encoded(Image.new('CMYK', (16, 16), (255, 0, 0, 0)), 'JPEG', quality=100, icc_profile=b'nonsense' * 20)
    picture = read(tmp_path, content)
    np.testing.assert_allclose(rgb_of(picture)[8, 8], (0, 1, 1), atol=0.02)
    assert 'cannot be used' in picture.notes[0]


@pytest.mark.parametrize('shape', [(1, 1), (2, 5), (13, 3), (37, 41)])
@pytest.mark.parametrize('bits', [8, 16])
def test_interlaced_png(tmp_path, shape, bits):
    samples = noise(*shape, 3, dtype=np.uint16) >> (16 - bits)
    check(read(tmp_path, interlaced_png_of(samples, bits)), samples, bits)
