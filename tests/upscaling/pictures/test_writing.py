"""What is written is whole, exact where the format allows it, and says what the source said."""

import errno
import os
import resource
import warnings

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from picture_files import exif_of, noise, refusal, rgb_of
from PIL import Image, ImageCms, PngImagePlugin

from sst.upscaling.pictures import ImageFile, Metadata, read_image, write_image

ONE_OF_EACH = ['a.png', 'a.jpg', 'a.webp', 'a.tif']


def image_of(samples: np.ndarray, **fields) -> ImageFile:
    """An image of (H, W, C) samples: grey, grey and alpha, RGB or RGBA."""
    return ImageFile(samples, 8 * samples.itemsize, **fields)


def exif_in(image: ImageFile) -> Image.Exif:
    exif = Image.Exif()
    exif.load(image.metadata.exif)
    return exif


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.tiff', 'a.webp', 'a.PNG'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (37, 21)])
def test_the_same_is_read_again(tmp_path, name, dtype, channels, shape):
    if name == 'a.webp' and dtype == np.uint16:
        pytest.skip('WebP holds 8 bits')
    samples = noise(*shape, channels, dtype=dtype)
    assert write_image(image_of(samples), tmp_path / name, quality=100) == []
    again = read_image(tmp_path / name)
    if name == 'a.webp' and channels < 3:  # it has no grey
        samples = samples[..., [0, 0, 0, *([1] if channels == 2 else [])]]
    assert again.samples.dtype == dtype
    assert np.array_equal(again.samples, samples)
    assert os.listdir(tmp_path) == [name]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.booleans(), st.sampled_from(['png', 'tif']))
def test_any_size(tmp_path_factory, height, width, channels, deep, ending):
    file = tmp_path_factory.getbasetemp() / f'any.{ending}'
    samples = noise(height, width, channels, dtype=np.uint16 if deep else np.uint8)
    write_image(image_of(samples), file)
    assert np.array_equal(read_image(file).samples, samples)


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_other_programs_read_the_same(tmp_path, name, dtype, channels):
    samples = noise(700, 600, channels, dtype=dtype)  # several strips of a TIFF
    write_image(image_of(samples, metadata=Metadata(dpi=(300, 300), exif=exif_of()[6:])), tmp_path / name)
    if name == 'a.tif':
        assert (tifffile.imread(tmp_path / name).reshape(samples.shape) == samples).all()
    if channels in (1, 3) or (name, channels) == ('a.png', 4):  # OpenCV knows no grey with alpha, and applies TIFF's
        order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
        seen = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED).reshape(samples.shape)
        assert (seen[..., order] == samples).all()
    if dtype == np.uint8:
        assert (np.asarray(Image.open(tmp_path / name)).reshape(samples.shape) == samples).all()


def test_jpeg_is_near_and_grey_stays_grey(tmp_path):
    samples = cv2.GaussianBlur(noise(64, 48, 3), (0, 0), 3)
    errors = []
    for quality in (30, 95):
        assert write_image(image_of(samples), tmp_path / 'a.jpg', quality) == []
        errors.append(np.abs(rgb_of(read_image(tmp_path / 'a.jpg')) - samples / 255).mean())
    assert errors[1] < min(0.01, errors[0])
    write_image(image_of(samples[..., :1]), tmp_path / 'a.jpeg')
    assert Image.open(tmp_path / 'a.jpeg').mode == 'L'


def test_sixteen_bits_become_eight_with_a_note(tmp_path):
    samples = noise(16, 16, 3, dtype=np.uint16)
    for name in ('a.jpg', 'a.webp'):
        assert len(write_image(image_of(samples), tmp_path / name, quality=100)) == 1
    assert np.abs(rgb_of(read_image(tmp_path / 'a.webp')) - samples / 65535).max() <= 0.5001 / 255


def test_transparency_in_jpeg_becomes_white_with_a_note(tmp_path):
    samples = np.zeros((32, 32, 4), np.uint8)  # black, and transparent on the left
    samples[:, 16:, 3] = 255
    assert len(write_image(image_of(samples), tmp_path / 'a.jpg')) == 1
    rgb = rgb_of(read_image(tmp_path / 'a.jpg'))
    assert rgb[:, :8].min() > 0.95
    assert rgb[:, 24:].max() < 0.05


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_metadata_stays(tmp_path, name, dtype):
    metadata = Metadata(
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes(),
        exif=exif_of(width=77)[6:],
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        dpi=(300.0, 150.0),
        texts={'parameters': 'steps 20', 'Title': '\N{GREEK SMALL LETTER ALPHA}'},
    )
    notes = write_image(image_of(noise(20, 30, 3, dtype=dtype), metadata=metadata), tmp_path / name)
    assert any('parameters' in note and 'Title' in note for note in notes) == (name != 'a.png')
    again = read_image(tmp_path / name)
    assert (again.metadata.icc, again.metadata.xmp) == (metadata.icc, metadata.xmp)
    assert again.metadata.texts == (metadata.texts if name == 'a.png' else {})
    if name != 'a.webp':
        assert again.metadata.dpi == pytest.approx(metadata.dpi, abs=0.02)
    folder = exif_in(again).get_ifd(0x8769)
    assert (exif_in(again)[0x0110], folder[0x9003]) == ('A camera', '2020:02:02 10:00:00')
    assert (folder[0xA002], folder[0xA003]) == (30, 20)


def test_what_a_png_says_of_its_colours_stays(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add(b'gAMA', (100_000).to_bytes(4, 'big'))
    Image.fromarray(noise(4, 5, 3)).save(tmp_path / 'linear.png', pnginfo=info)
    write_image(read_image(tmp_path / 'linear.png'), tmp_path / 'a.png')
    assert Image.open(tmp_path / 'a.png').info['gamma'] == 1


def test_a_comment_of_jpeg_stays(tmp_path):
    Image.fromarray(noise(4, 5, 3)).save(tmp_path / 'a.jpg', comment='Grüße')
    for name in ('b.png', 'c.jpg'):
        assert write_image(read_image(tmp_path / 'a.jpg'), tmp_path / name) == []
    assert Image.open(tmp_path / 'b.png').text == {'Comment': 'Grüße'}
    assert Image.open(tmp_path / 'c.jpg').info['comment'].decode() == 'Grüße'


def test_metadata_that_jpeg_cannot_hold_is_left_out_with_notes(tmp_path):
    metadata = Metadata(exif=exif_of(camera='x' * 70_000)[6:], xmp=b'<x/>' * 20_000)
    assert len(write_image(image_of(noise(4, 5, 3), metadata=metadata), tmp_path / 'a.jpg')) == 2
    again = read_image(tmp_path / 'a.jpg').metadata
    assert (again.exif, again.xmp) == (None, None)


def test_a_profile_of_grey_does_not_go_into_webp(tmp_path):
    metadata = Metadata(icc=bytes(16) + b'GRAY' + bytes(200))
    for channels, notes in ((1, 1), (3, 0)):
        assert len(write_image(image_of(noise(4, 5, channels), metadata=metadata), tmp_path / 'a.webp')) == notes


@pytest.mark.parametrize(
    ('name', 'quality', 'width', 'named'),
    [
        *((name, 95, 5, ('.png', '.jpeg', '.webp', '.tiff')) for name in ('a.gif', 'a', 'a.bmp', '.png')),
        ('a.jpg', 0, 5, ('0', '100')),
        ('a.jpg', 101, 5, ('101', '100')),
        ('a.jpg', 95, 65_501, ('65501x1', '65500')),
        ('a.webp', 95, 16_384, ('16384x1', '16383')),
        ('none/a.png', 95, 5, ('none/a.png',)),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, name, quality, width, named):
    line = refusal(write_image, image_of(noise(1, width, 3)), tmp_path / name, quality)
    assert all(part in line for part in named)
    assert os.listdir(tmp_path) == []


def test_the_largest_side_of_a_format_is_written(tmp_path):
    for name, width in (('a.jpg', 65_500), ('a.webp', 16_383)):
        write_image(image_of(noise(1, width, 3)), tmp_path / name)
        assert Image.open(tmp_path / name).size == (width, 1)


def test_a_folder_that_must_not_be_written_into_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        assert 'a.png' in refusal(write_image, image_of(noise(4, 5, 3)), tmp_path / 'a.png')
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    write_image(image_of(noise(4, 5, 3)), tmp_path / name)
    old = (tmp_path / name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # Python ignores the signal
    try:
        assert name in refusal(write_image, image_of(noise(200, 200, 3)), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / name).read_bytes() == old
    assert os.listdir(tmp_path) == [name]


def test_a_disk_that_is_found_full_at_the_end_leaves_no_file(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fail)
    assert 'disk' in refusal(write_image, image_of(noise(4, 5, 3)), tmp_path / 'a.png')
    assert os.listdir(tmp_path) == []


def test_a_large_tiff_is_a_bigtiff_with_all_metadata(monkeypatch, tmp_path):
    monkeypatch.setattr('sst.upscaling.pictures.tiff._LARGEST_CLASSIC', 100)
    image = image_of(noise(40, 50, 3), metadata=Metadata(exif=exif_of(width=77)[6:], dpi=(300, 300)))
    assert write_image(image, tmp_path / 'a.tif') == []
    again = read_image(tmp_path / 'a.tif')
    assert (tmp_path / 'a.tif').read_bytes()[:3] == b'II+'
    assert (again.samples == image.samples).all()
    assert (exif_in(again)[0x0110], exif_in(again).get_ifd(0x8769)[0xA002]) == ('A camera', 50)


def test_a_tiff_causes_no_warnings(tmp_path):
    metadata = Metadata(xmp=b'odd', icc=b'odd as well', exif=exif_of(width=77)[6:])
    write_image(image_of(noise(33, 7, 3), metadata=metadata), tmp_path / 'a.tif')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with Image.open(tmp_path / 'a.tif') as image:
            assert np.asarray(image).shape == (33, 7, 3)
