"""TIFF that says how to turn it, that holds a small copy in front, and that may be larger than 4 GB."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from picture_files import lzw_tiff_of, noise, read, rgb_of, tiff_of
from PIL import Image, ImageOps

from sst.data.encoded_image import EncodedImage
from sst.upscale import main
from sst.upscaling.pictures import read_image

COLOURS = {1: 'minisblack', 3: 'rgb', 4: 'rgb'}


def turned_tiff(dtype: type, compression: str, orientation: int, channels: int, **options) -> tuple[np.ndarray, bytes]:
    samples = noise(12, 20, channels, dtype=dtype)
    if channels == 4:
        samples[..., 3] = np.iinfo(dtype).max  # OpenCV multiplies the colours by it
    options |= {'photometric': COLOURS[channels], 'extratags': [(274, 'H', 1, orientation, True)]}
    options |= {'extrasamples': ['unassalpha']} if channels == 4 else {}
    array = samples if channels > 1 else samples[..., 0]
    if compression == 'lzw':
        return samples, lzw_tiff_of(array, **options)
    return samples, tiff_of(array, compression=compression, **options)


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C), each channel turned as Pillow turns an image of that orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    channels = []
    for channel in np.moveaxis(samples, 2, 0):
        file = io.BytesIO()
        Image.fromarray(channel.astype(np.float32)).save(file, 'TIFF', exif=exif)
        channels.append(np.asarray(ImageOps.exif_transpose(Image.open(file))))
    return np.stack(channels, axis=2).astype(samples.dtype)


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('compression', [None, 'lzw', 'zlib'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_every_tiff_is_turned_upright_once(tmp_path, dtype, compression, orientation, channels):
    samples, content = turned_tiff(dtype, compression, orientation, channels)
    expected = upright(samples, orientation)
    assert (read(tmp_path, content, 'a.tif').samples == expected).all()
    trained = EncodedImage(content, 'a.tif').whole()
    largest = np.float32(np.iinfo(dtype).max)
    np.testing.assert_allclose(trained / 255, np.broadcast_to(expected[..., :3], trained.shape) / largest, atol=1 / 255)


@pytest.mark.parametrize('bigtiff', [False, True])
@pytest.mark.parametrize('byteorder', ['<', '>'])
@pytest.mark.parametrize('compression', ['lzw', 'zlib'])
def test_both_orders_of_bytes_and_bigtiff(tmp_path, compression, byteorder, bigtiff):
    samples, content = turned_tiff(np.uint16, compression, 6, 3, byteorder=byteorder, bigtiff=bigtiff)
    assert (read(tmp_path, content, 'a.tif').samples == upright(samples, 6)).all()


def test_a_turned_lzw_tiff_is_enlarged_upright(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = cv2.resize(noise(4, 6, 3), (40, 24), interpolation=cv2.INTER_CUBIC).astype(np.uint16) * 257
    options = {'photometric': 'rgb', 'extratags': [(274, 'H', 1, 6, True)]}
    for name, samples in (('deep', scene), ('plain', (scene // 257).astype(np.uint8))):
        Path(f'{name}.tif').write_bytes(lzw_tiff_of(samples, **options))
    assert main(['deep.tif', 'plain.tif', '--device', 'cpu']) == 0
    deep, plain = (read_image(f'results/{name}_x2.tif') for name in ('deep', 'plain'))
    assert (deep.shape, deep.bits, plain.bits) == ((80, 48, 3), 16, 8)
    np.testing.assert_allclose(rgb_of(deep), rgb_of(plain), atol=0.01)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('where', ['behind', 'behind, LZW', 'below'])
def test_the_image_is_read_and_not_its_thumbnail(tmp_path, where, dtype):
    small, whole = noise(6, 8, 3, dtype=dtype), noise(24, 32, 3, dtype=dtype)
    buffer = io.BytesIO()
    if where == 'behind, LZW':
        buffer.write(cv2.imencodemulti('.tif', [small[..., ::-1], whole[..., ::-1]])[1].tobytes())
        buffer.seek(0)
        with tifffile.TiffFile(buffer) as file:
            assert file.pages.first.compression == 5
            file.pages.first.tags['NewSubfileType'].overwrite(1)
    else:
        with tifffile.TiffWriter(buffer, bigtiff=True) as file:
            file.write(small, subfiletype=1, photometric='rgb', subifds=int(where == 'below'), metadata=None)
            file.write(whole, photometric='rgb', metadata=None)
    image = read(tmp_path, buffer.getvalue(), 'a.tif')
    assert (image.samples == whole).all()
    assert len(image.notes) == 1


@pytest.mark.parametrize('bigtiff', [False, True])
def test_what_a_tiff_says_is_kept(tmp_path, bigtiff):
    options = {'photometric': 'rgb', 'metadata': None, 'software': False, 'bigtiff': bigtiff}
    silent = read(tmp_path, tiff_of(noise(8, 9, 3), **options), 'a.tif')
    assert (silent.notes, silent.metadata.exif) == ((), None)
    options |= {'description': 'A lake', 'extratags': [(33432, 's', 0, 'Somebody', True)]}
    image = read(tmp_path, tiff_of(noise(8, 9, 3), **options), 'a.tif')
    assert image.notes == ()
    exif = Image.Exif()
    exif.load(image.metadata.exif)
    assert (exif[270], exif[33432]) == ('A lake', 'Somebody')
