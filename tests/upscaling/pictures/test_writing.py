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
from picture_files import alpha_of, exif_of, noise, rgb_of
from PIL import Image, ImageCms, PngImagePlugin

from sst.upscaling.pictures import ImageFile, Metadata, read_image, write_image
from sst.utils.errors import UserError

LOSSLESS = ['a.png', 'a.tif', 'a.tiff', 'a.webp', 'a.PNG']


def picture_of(samples: np.ndarray, **fields) -> ImageFile:
    """A picture of (H, W, C) samples: grey, grey and alpha, RGB or RGBA."""
    return ImageFile(samples, 8 * samples.itemsize, **fields)


def same(one: ImageFile, other: ImageFile) -> bool:
    alphas = alpha_of(one), alpha_of(other)
    return np.array_equal(rgb_of(one), rgb_of(other)) and (alphas[0] is alphas[1] or np.array_equal(*alphas))


@pytest.mark.parametrize('name', LOSSLESS)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (37, 21)])
def test_what_is_written_is_read_again(tmp_path, name, dtype, channels, shape):
    if name == 'a.webp' and dtype == np.uint16:
        pytest.skip('WebP holds 8 bits')
    picture = picture_of(noise(*shape, channels, dtype=dtype))
    assert write_image(picture, tmp_path / name, quality=100) == []
    again = read_image(tmp_path / name)
    assert same(picture, again)
    assert again.bits == picture.bits
    assert again.grey == (picture.grey and name != 'a.webp')
    assert os.listdir(tmp_path) == [name]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.booleans(), st.sampled_from(['png', 'tif']))
def test_any_size(tmp_path_factory, height, width, channels, deep, ending):
    file = tmp_path_factory.getbasetemp() / f'any.{ending}'
    picture = picture_of(noise(height, width, channels, dtype=np.uint16 if deep else np.uint8))
    write_image(picture, file)
    assert same(picture, read_image(file))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_other_programs_read_the_same(tmp_path, dtype, channels):
    samples = noise(700, 600, channels, dtype=dtype)  # several strips of a TIFF
    for name in ('a.png', 'a.tif'):
        write_image(picture_of(samples, metadata=Metadata(dpi=(300, 300), exif=exif_of()[6:])), tmp_path / name)
    assert (tifffile.imread(tmp_path / 'a.tif').reshape(samples.shape) == samples).all()
    if channels != 2:  # OpenCV knows no grey with alpha
        order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
        for name in ('a.png', 'a.tif'):
            seen = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED).reshape(samples.shape)
            if name == 'a.png' or channels != 4:  # of TIFF it multiplies colours by alpha
                assert (seen[..., order] == samples).all()
    if dtype == np.uint8:
        for name in ('a.png', 'a.tif'):
            assert (np.asarray(Image.open(tmp_path / name)).reshape(samples.shape) == samples).all()


def test_jpeg_is_near_and_grey_stays_grey(tmp_path):
    samples = cv2.GaussianBlur(noise(64, 48, 3), (0, 0), 3)
    picture = picture_of(samples)
    errors = []
    for quality in (30, 95):
        assert write_image(picture, tmp_path / 'a.jpg', quality) == []
        errors.append(np.abs(rgb_of(read_image(tmp_path / 'a.jpg')) - rgb_of(picture)).mean())
    assert errors[1] < 0.01
    assert errors[1] < errors[0]
    write_image(picture_of(samples[..., :1]), tmp_path / 'a.jpeg')
    assert Image.open(tmp_path / 'a.jpeg').mode == 'L'


def test_sixteen_bits_become_eight_with_a_note(tmp_path):
    picture = picture_of(noise(16, 16, 3, dtype=np.uint16))
    for name in ('a.jpg', 'a.webp'):
        notes = write_image(picture, tmp_path / name, quality=100)
        assert [note.startswith('16 bits become 8') for note in notes] == [True]
    assert np.abs(rgb_of(read_image(tmp_path / 'a.webp')) - rgb_of(picture)).max() <= 0.5001 / 255


def test_transparency_in_jpeg_becomes_white_with_a_note(tmp_path):
    samples = np.zeros((32, 32, 4), np.uint8)  # black, on the left transparent
    samples[:, 16:, 3] = 255
    assert 'upon white' in write_image(picture_of(samples), tmp_path / 'a.jpg')[0]
    rgb = rgb_of(read_image(tmp_path / 'a.jpg'))
    assert rgb[:, :8].min() > 0.95
    assert rgb[:, 24:].max() < 0.05


@pytest.fixture
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


@pytest.mark.parametrize('deep', [False, True])
@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.jpg', 'a.webp'])
def test_metadata_stays(tmp_path, name, deep, profile):
    metadata = Metadata(
        icc=profile,
        exif=exif_of(width=77)[6:],
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        dpi=(300.0, 150.0),
        texts={'parameters': 'steps 20', 'Title': '\N{GREEK SMALL LETTER ALPHA}'},
    )
    picture = picture_of(noise(20, 30, 3, dtype=np.uint16 if deep else np.uint8), metadata=metadata)
    notes = write_image(picture, tmp_path / name)
    assert any('parameters, Title' in note for note in notes) == (name != 'a.png')
    again = read_image(tmp_path / name).metadata
    assert again.icc == profile
    assert again.xmp == metadata.xmp
    assert again.texts == (metadata.texts if name == 'a.png' else {})
    if name != 'a.webp':
        assert again.dpi == pytest.approx(metadata.dpi, abs=0.02)
    exif = Image.Exif()
    exif.load(again.exif)
    assert exif[0x0110] == 'A camera'
    folder = exif.get_ifd(0x8769)
    assert folder[0x9003] == '2020:02:02 10:00:00'
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
    notes = write_image(picture_of(noise(4, 5, 3), metadata=metadata), tmp_path / 'a.jpg')
    assert [note.split(' data')[0] for note in notes] == ['its EXIF', 'its XMP']
    assert read_image(tmp_path / 'a.jpg').metadata.exif is None


def test_a_profile_of_grey_does_not_go_into_webp(tmp_path):
    metadata = Metadata(icc=bytes(16) + b'GRAY' + bytes(200))
    for channels, notes in ((1, 1), (3, 0)):
        assert len(write_image(picture_of(noise(4, 5, channels), metadata=metadata), tmp_path / 'a.webp')) == notes


@pytest.mark.parametrize('name', ['a.gif', 'a', 'a.bmp', '.png'])
def test_an_ending_that_cannot_be_written_is_one_line(tmp_path, name):
    with pytest.raises(UserError, match=rf'cannot write {tmp_path}/{name}: [^\n]*\.png, \.jpg, [^\n]*\.tiff$'):
        write_image(picture_of(noise(4, 5, 3)), tmp_path / name)


@pytest.mark.parametrize('quality', [0, 101])
def test_a_quality_that_is_none_is_one_line(tmp_path, quality):
    with pytest.raises(UserError, match=f'quality must be from 1 to 100, not {quality}'):
        write_image(picture_of(noise(4, 5, 3)), tmp_path / 'a.jpg', quality)


@pytest.mark.parametrize(('name', 'width'), [('a.jpg', 65_501), ('a.webp', 16_384)])
def test_a_picture_too_large_for_the_format_is_one_line(tmp_path, name, width):
    with pytest.raises(UserError, match=rf'a\.[a-z]+: \w+ holds {width - 1} pixels .* {width}x1: write PNG or TIFF'):
        write_image(picture_of(noise(1, width, 3)), tmp_path / name)
    write_image(picture_of(noise(1, width - 1, 3)), tmp_path / name)


def test_a_folder_that_must_not_be_written_into_is_one_line(tmp_path):
    tmp_path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(UserError, match=r'^cannot write [^\n]*a\.png: Permission denied; [^\n]*another folder$'):
            write_image(picture_of(noise(4, 5, 3)), tmp_path / 'a.png')
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r'^cannot write [^\n]*a\.png: No such file or directory'):
        write_image(picture_of(noise(4, 5, 3)), tmp_path / 'none' / 'a.png')


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.webp', 'a.tif'])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, name):
    write_image(picture_of(noise(4, 5, 3)), tmp_path / name)
    old = (tmp_path / name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # Python ignores the signal
    try:
        with pytest.raises(UserError, match=rf'^cannot write [^\n]*{name}: File too large; make room'):
            write_image(picture_of(noise(200, 200, 3)), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / name).read_bytes() == old
    assert os.listdir(tmp_path) == [name]


def test_a_full_disk_is_called_so(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'^cannot write .*a\.png: the disk is full; make room'):
        write_image(picture_of(noise(4, 5, 3)), tmp_path / 'a.png')
    assert os.listdir(tmp_path) == []


def test_a_large_tiff_is_a_bigtiff_with_all_that_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr('sst.upscaling.pictures.tiff._LARGEST_CLASSIC', 100)
    image = picture_of(noise(40, 50, 3), metadata=Metadata(exif=exif_of(width=77)[6:], dpi=(300, 300)))
    assert write_image(image, tmp_path / 'a.tif') == []
    again = read_image(tmp_path / 'a.tif')
    assert (tmp_path / 'a.tif').read_bytes()[:3] == b'II+'
    assert (again.samples == image.samples).all()
    exif = Image.Exif()
    exif.load(again.metadata.exif)
    assert (exif[0x0110], exif.get_ifd(0x8769)[0xA002]) == ('A camera', 50)


def test_a_tiff_warns_nobody(tmp_path):
    metadata = Metadata(xmp=b'odd', icc=b'odd as well', exif=exif_of(width=77)[6:])
    write_image(picture_of(noise(33, 7, 3), metadata=metadata), tmp_path / 'a.tif')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with Image.open(tmp_path / 'a.tif') as image:
            assert np.asarray(image).shape == (33, 7, 3)
