"""Large pictures go through in bands: what is written is what the whole would be, and memory holds a part of it."""

import tracemalloc

import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import noise

from sst.inference import Tiler
from sst.inference.pictures import Picture, enlarge, read_picture, write_picture
from sst.utils.errors import UserError


def nearest(lr):
    return F.interpolate(lr, scale_factor=2)


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.jpg', 'a.webp'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_the_file_is_that_of_the_whole_picture(tmp_path, name, channels):
    picture = Picture(noise(70, 50, channels))
    for size in (None, (111, 64)):
        streamed = enlarge(picture, Tiler(nearest, 2, tile=16, overlap=4), size)
        whole = enlarge(picture, Tiler(nearest, 2), size)
        write_picture(streamed, tmp_path / f'streamed_{name}')
        write_picture(Picture(whole.whole()), tmp_path / f'whole_{name}')
        one, other = (read_picture(tmp_path / f'{kind}_{name}') for kind in ('streamed', 'whole'))
        assert one.shape == other.shape
        assert np.abs(one.samples.astype(int) - other.samples).max() <= (1 if name in ('a.png', 'a.tif') else 9)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 90), st.integers(1, 90), st.integers(4, 20))
def test_any_size_and_tile(height, width, to_height, to_width, tile):
    picture = Picture(noise(height, width, 4))
    streamed = enlarge(picture, Tiler(nearest, 2, tile=tile, overlap=2), (to_height, to_width))
    whole = enlarge(picture, Tiler(nearest, 2), (to_height, to_width))
    assert streamed.shape == streamed.whole().shape == (to_height, to_width, 4)
    np.testing.assert_allclose(streamed.whole(), whole.whole(), atol=1e-5)


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
@pytest.mark.parametrize('ratio', [2, 1.5])
def test_memory_does_not_grow_with_the_height(tmp_path, name, ratio):
    peaks = []
    for height in (400, 800):
        picture = Picture(np.zeros((height, 500, 3), np.uint8))
        large = enlarge(picture, Tiler(nearest, 2, tile=32, overlap=8), (int(ratio * height), int(ratio * 500)))
        tracemalloc.start()  # of NumPy's arrays, not PyTorch's
        write_picture(large, tmp_path / name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_network_that_fails_in_the_middle_leaves_the_old_file(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'old')
    calls = []

    def failing(lr):
        calls.append(1)
        return nearest(lr) * (float('nan') if len(calls) > 5 else 1)

    large = enlarge(Picture(noise(100, 40, 3)), Tiler(failing, 2, tile=16, overlap=4))
    with pytest.raises(UserError, match='^the network gives values that are no numbers'):
        write_picture(large, tmp_path / 'a.png')
    assert len(calls) > 5
    assert (tmp_path / 'a.png').read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['a.png']


def test_a_fault_of_the_network_is_not_told_as_one_of_the_file(tmp_path):
    def broken(lr):
        raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')

    with pytest.raises(RuntimeError, match='cannot be multiplied'):
        write_picture(enlarge(Picture(noise(9, 9, 3)), Tiler(broken, 2)), tmp_path / 'a.png')
    assert list(tmp_path.iterdir()) == []


def test_what_is_enlarged_may_be_enlarged_again():
    picture = Picture(noise(9, 7, 3))
    twice = enlarge(enlarge(picture, Tiler(nearest, 2)), Tiler(nearest, 2))
    assert twice.shape == (36, 28, 3)
    assert (twice.whole() == picture.whole().repeat(4, axis=0).repeat(4, axis=1)).all()
