"""Uploaded files of every kind, as the page enlarges them."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import tiny_options
from picture_files import GREY_ALPHA, RGB, RGBA, alpha_of, exif_of, noise, png_of, rgb_of
from PIL import Image

from sst.api import Upscaler
from sst.archs import SST
from sst.ops.imresize import imresize
from sst.upscaling.pictures import read_image
from sst.upscaling.web.enlarging import enlarge_upload, preview_upload
from sst.utils.errors import UserError

LIMIT = 1e6


@pytest.fixture(scope='module')
def upscaler():
    torch.manual_seed(3)
    return Upscaler(SST(**tiny_options()), 'cpu')


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'results').mkdir()
    return tmp_path / 'results'


def saved(path, image, **options):
    image.save(path, **options)
    return path


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_the_scale_of_the_network(tmp_path, folder, upscaler):
    pixels = noise(20, 30, 3)
    result = enlarge_upload(saved(tmp_path / 'a.png', Image.fromarray(pixels)), upscaler, 2, folder, LIMIT)
    assert np.array_equal(np.asarray(Image.open(result.file)), upscaler(pixels))
    assert (result.file.name, result.size_before, result.size_after) == ('a_x2.png', (30, 20), (60, 40))
    assert result.seconds > 0
    assert result.notes == ()


@pytest.mark.parametrize(('scale', 'size'), [(3, (90, 60)), (1.5, (45, 30)), (2.7, (81, 54)), (1, (30, 20))])
def test_other_scales_are_resized_exactly(tmp_path, folder, upscaler, scale, size):
    pixels = noise(20, 30, 3)
    result = enlarge_upload(saved(tmp_path / 'a.png', Image.fromarray(pixels)), upscaler, scale, folder, LIMIT)
    assert result.file.name == f'a_x{scale}.png'
    assert result.size_after == size_of(result.file) == size
    network = upscaler((pixels / np.float32(255)).astype(np.float32))
    expected = imresize(network, Fraction(str(scale)) / 2).clip(0, 1) * 255
    assert np.abs(np.asarray(Image.open(result.file)) - expected).max() < 0.51
    assert bool(result.notes) == (scale > 2)


def test_the_two_pictures_to_compare(tmp_path, folder, upscaler):
    picture = saved(tmp_path / 'a.png', Image.radial_gradient('L').convert('RGB').resize((48, 40)))
    result = enlarge_upload(picture, upscaler, 2, folder, LIMIT)
    before, after = (np.asarray(Image.open(path), np.float32) for path in (result.before, result.after))
    assert before.shape == after.shape == (80, 96, 3)
    assert np.abs(before - imresize(np.asarray(Image.open(picture)), 2)).mean() < 2
    assert np.abs(after - np.asarray(Image.open(result.file))).mean() < 6  # JPEG
    assert np.abs(before - after).mean() > 6


def test_large_results_are_shown_smaller(tmp_path, folder, upscaler):
    result = enlarge_upload(saved(tmp_path / 'a.png', Image.new('RGB', (1500, 40))), upscaler, 2, folder, LIMIT)
    assert size_of(result.file) == (3000, 80)
    assert size_of(result.before) == size_of(result.after) == (2400, 64)


@pytest.mark.parametrize('colour', [RGB, RGBA, GREY_ALPHA], ids=['RGB', 'RGBA', 'grey and alpha'])
def test_16_bits_and_transparency_stay(tmp_path, folder, upscaler, colour):
    channels = {RGB: 3, RGBA: 4, GREY_ALPHA: 2}[colour]
    path = tmp_path / 'deep.png'
    path.write_bytes(png_of(noise(9, 12, channels, dtype=np.uint16), 16, colour))
    result = read_image(enlarge_upload(path, upscaler, 3, folder, LIMIT).file)
    assert (result.bits, result.grey, alpha_of(result) is not None) == (16, colour == GREY_ALPHA, colour != RGB)
    assert rgb_of(result).shape == (27, 36, 3)


def test_orientation_camera_and_format_stay(tmp_path, folder, upscaler):
    picture = saved(tmp_path / 'Photo.JPEG', Image.new('RGB', (32, 16), 'teal'), format='JPEG', exif=exif_of(6))
    result = enlarge_upload(picture, upscaler, 2, folder, LIMIT)
    assert (result.file.name, result.size_before, result.size_after) == ('Photo_x2.JPEG', (16, 32), (32, 64))
    with Image.open(result.file) as image:
        assert (image.format, image.getexif()[0x0110], image.getexif()[0x0112]) == ('JPEG', 'A camera', 1)
    assert size_of(result.before) == size_of(result.after) == (32, 64)


@pytest.mark.parametrize(
    ('name', 'mode', 'becomes'),
    [
        ('a.gif', 'P', 'a_x2.png'),
        ('a.bmp', 'RGB', 'a_x2.png'),
        ('a.webp', 'RGB', 'a_x2.webp'),
        ('a.tiff', 'CMYK', 'a_x2.tiff'),
        ('a.png', '1', 'a_x2.png'),
    ],
)
def test_formats_and_modes(tmp_path, folder, upscaler, name, mode, becomes):
    picture = saved(tmp_path / name, Image.new('RGB', (11, 7), 'navy').convert(mode))
    result = enlarge_upload(picture, upscaler, 2, folder, LIMIT)
    assert result.file.name == becomes
    assert size_of(result.file) == (22, 14)


def test_what_webp_cannot_hold_becomes_png(tmp_path, folder, upscaler):
    picture = saved(tmp_path / 'long.webp', Image.new('RGB', (3000, 2)))
    assert size_of(enlarge_upload(picture, upscaler, 6, folder, LIMIT).file) == (18000, 12)


@pytest.mark.parametrize('file_format', ['PNG', 'TIFF', 'JPEG'])
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, folder, upscaler, file_format):
    path = saved(tmp_path / 'large.img', Image.new('L', (1200, 1000)), format=file_format)
    path.write_bytes(path.read_bytes()[:-8])  # decoding it would find the damage
    for call in (lambda: enlarge_upload(path, upscaler, 2, folder, LIMIT), lambda: preview_upload(path, folder, LIMIT)):
        with pytest.raises(UserError, match=r'^large.img: 1200 x 1000 pixels are 1.2 million, and 1 million are the'):
            call()


def test_results_that_are_too_large(tmp_path, folder, upscaler):
    picture = saved(tmp_path / 'a.png', Image.new('RGB', (1000, 900)))
    with pytest.raises(UserError, match='the result would have 32.4 million pixels, and 16 million are the limit here'):
        enlarge_upload(picture, upscaler, 6, folder, LIMIT)


@pytest.mark.parametrize('scale', [0.5, 9, float('nan'), float('inf')])
def test_scales_that_are_not_possible(tmp_path, folder, upscaler, scale):
    picture = saved(tmp_path / 'a.png', Image.new('RGB', (8, 8)))
    with pytest.raises(UserError, match=r'from 1 to 8, not'):
        enlarge_upload(picture, upscaler, scale, folder, LIMIT)


@pytest.mark.parametrize(
    ('content', 'why'),
    [(b'hello', 'text'), (b'', 'empty'), (bytes(range(256)), 'damaged')],
    ids=['text', 'empty', 'bytes'],
)
def test_files_that_are_no_pictures(tmp_path, folder, upscaler, content, why):
    path = tmp_path / 'fake.png'
    path.write_bytes(content)
    with pytest.raises(UserError, match=f'^fake.png: .*{why}'):
        enlarge_upload(path, upscaler, 2, folder, LIMIT)
    assert list(folder.iterdir()) == []


def test_a_file_that_has_been_deleted_meanwhile(tmp_path, folder, upscaler):
    with pytest.raises(UserError, match=r'^gone.png: no such file$'):
        enlarge_upload(tmp_path / 'gone.png', upscaler, 2, folder, LIMIT)


def test_a_device_without_enough_memory(tmp_path, folder, upscaler, monkeypatch):
    def without_memory(*_):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 80 GiB')

    monkeypatch.setattr(upscaler.net, 'forward', without_memory)
    picture = saved(tmp_path / 'a.png', Image.new('RGB', (8, 8)))
    with pytest.raises(UserError, match='^there is not enough memory for a tile of 8x8 pixels; [^\n]*$'):
        enlarge_upload(picture, upscaler, 2, folder, LIMIT)


def test_previews(tmp_path, folder):
    path = tmp_path / 'deep.png'
    path.write_bytes(png_of(np.full((900, 1000, 4), 65535, np.uint16) * np.uint16([1, 1, 1, 0]), 16, RGBA))
    preview, size = preview_upload(path, folder, LIMIT)
    assert size == (1000, 900)
    assert size_of(preview) == (800, 720)
    assert np.asarray(Image.open(preview)).min() == 255  # invisible: white
