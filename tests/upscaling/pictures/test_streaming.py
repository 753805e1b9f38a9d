"""Large images are processed in bands: the file is that of the whole image, and memory holds a part of it."""

import tracemalloc

import cv2
import numpy as np
import pytest
import torch.nn.functional as F
from picture_files import disc, enlarged, exif_of, noise
from PIL import Image

from sst.inference import Tiler
from sst.upscaling.pictures import ImageFile, read_image, write_image
from sst.utils.errors import UserError


def nearest(lr):
    return F.interpolate(lr, scale_factor=2)


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA', 'I;16'])
@pytest.mark.parametrize('name', ['b.png', 'b.tif'])
def test_a_network_that_changes_nothing_changes_no_file(tmp_path, mode, name):
    if mode == 'I;16':
        cv2.imwrite(str(tmp_path / 'a.png'), noise(23, 31, dtype=np.uint16))
    else:
        samples = noise(23, 31, 4)
        samples[..., 3] |= 1  # nothing is hidden
        Image.fromarray(samples).convert(mode).save(tmp_path / 'a.png', exif=exif_of(), dpi=(72, 72))
    image = read_image(tmp_path / 'a.png')
    write_image(enlarged(image, Tiler(lambda lr: lr, 1)), tmp_path / name)
    again = read_image(tmp_path / name)
    assert (again.samples == image.samples).all()
    assert again.samples.dtype == image.samples.dtype


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.jpg', 'a.webp'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_the_file_is_that_of_the_whole_image(tmp_path, name, channels):
    image = ImageFile(noise(70, 50, channels))
    for size in (None, (111, 64)):
        streamed = enlarged(image, Tiler(nearest, 2, tile=16, overlap=4), size)
        whole = enlarged(image, Tiler(nearest, 2), size)
        write_image(streamed, tmp_path / f'streamed_{name}')
        write_image(ImageFile(whole.whole()), tmp_path / f'whole_{name}')
        one, other = (read_image(tmp_path / f'{kind}_{name}') for kind in ('streamed', 'whole'))
        assert one.shape == other.shape
        assert np.abs(one.samples.astype(int) - other.samples).max() <= (1 if name in ('a.png', 'a.tif') else 9)


@pytest.mark.parametrize('name', ['a.png', 'a.webp', 'a.tif'])
def test_no_fringe_in_the_file(tmp_path, name):
    write_image(ImageFile(disc()), tmp_path / f'small_{name}', quality=100)
    bicubic = Tiler(lambda lr: F.interpolate(lr, scale_factor=4, mode='bicubic'), 4)
    write_image(enlarged(read_image(tmp_path / f'small_{name}'), bicubic), tmp_path / name, quality=100)
    on_white = Image.new('RGBA', (160, 160), 'white')
    on_white.alpha_composite(Image.open(tmp_path / name).convert('RGBA'))
    # Red on white is full of red everywhere; a dark fringe would take it away.
    assert np.asarray(on_white)[..., 0].min() >= 254


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.jpg'])
@pytest.mark.parametrize('ratio', [2, 1.5])
def test_memory_does_not_grow_with_the_height(tmp_path, name, ratio):
    peaks = []
    for height in (400, 800):
        image = ImageFile(np.zeros((height, 500, 3), np.uint8))
        large = enlarged(image, Tiler(nearest, 2, tile=32, overlap=8), (int(ratio * height), int(ratio * 500)))
        tracemalloc.start()  # sees NumPy's arrays, not PyTorch's
        write_image(large, tmp_path / name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize('fault', [UserError, RuntimeError])
def test_a_network_that_fails_in_the_middle_leaves_the_old_file(tmp_path, fault):
    (tmp_path / 'a.png').write_bytes(b'old')
    calls = []

    def failing(lr):
        calls.append(1)
        if len(calls) > 5 and fault is RuntimeError:
            raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')
        return nearest(lr) * (float('nan') if len(calls) > 5 else 1)

    large = enlarged(ImageFile(noise(100, 40, 3)), Tiler(failing, 2, tile=16, overlap=4))
    with pytest.raises(fault):
        write_image(large, tmp_path / 'a.png')
    assert len(calls) > 5
    assert (tmp_path / 'a.png').read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['a.png']
