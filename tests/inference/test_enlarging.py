"""Samples through a network: exact where nothing changes, in bands, without fringes where something is transparent."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import disc, noise

from sst.inference import Tiler
from sst.inference.enlarging import bands_of, enlarge, rgb_of, whole
from sst.ops.imresize import imresize
from sst.utils.errors import UserError


def bicubic(lr):
    """What overshoots and mixes neighbours, as networks do."""
    return F.interpolate(lr, scale_factor=4, mode='bicubic', align_corners=False)


def nearest(lr):
    return F.interpolate(lr, scale_factor=2)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.sampled_from([2, 3, 4]))
def test_sizes(height, width, channels, scale):
    samples = noise(height, width, channels)

    def copied(lr):
        assert lr.shape == (1, 3, height, width)
        return F.interpolate(lr, scale_factor=scale)

    result = enlarge(samples, Tiler(copied, scale))
    assert result.shape == whole(result).shape == (scale * height, scale * width, channels)
    if channels in (1, 3):
        np.testing.assert_allclose(whole(result), whole(samples).repeat(scale, 0).repeat(scale, 1), atol=1e-6)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 90), st.integers(1, 90), st.integers(4, 20))
def test_any_size_and_tile(height, width, to_height, to_width, tile):
    samples = noise(height, width, 4)
    streamed = enlarge(samples, Tiler(nearest, 2, tile=tile, overlap=2), (to_height, to_width))
    at_once = enlarge(samples, Tiler(nearest, 2), (to_height, to_width))
    assert streamed.shape == whole(streamed).shape == (to_height, to_width, 4)
    np.testing.assert_allclose(whole(streamed), whole(at_once), atol=1e-5)


def test_grey_comes_back_as_the_mean_of_three_channels():
    grey = (0.2 + 0.6 * noise(5, 6, 1) / np.float32(255)).astype(np.float32)
    tint = torch.tensor([0.1, 0.0, -0.1])[:, None, None]
    result = enlarge(grey, Tiler(lambda lr: lr + tint, 1))
    assert result.shape == grey.shape
    np.testing.assert_allclose(whole(result), grey, atol=1e-6)


def test_no_fringe_around_what_is_visible():
    visible = whole(enlarge(disc(), Tiler(bicubic, 4)))
    seen = visible[..., 3] > 0
    assert seen.any()
    assert visible[seen][:, 0].min() > 0.999
    assert visible[seen][:, 1:3].max() < 0.001
    # The test can fail: if invisible pixels are not filled, their black shows.
    assert bicubic(torch.from_numpy(disc()[..., :3]).permute(2, 0, 1)[None])[0, 0].numpy()[seen].min() < 0.9


def test_transparency_is_enlarged_by_bicubic_interpolation_and_clipped():
    alpha = whole(enlarge(disc(), Tiler(bicubic, 4)))[..., 3]
    np.testing.assert_allclose(alpha, imresize(disc()[..., 3], 4).clip(0, 1), atol=1e-6)
    assert (alpha.min(), alpha.max()) == (0, 1)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_a_uniform_alpha_stays_uniform(value):
    samples = np.dstack([noise(7, 5, 3) / np.float32(255), np.full((7, 5), value, np.float32)])
    alpha = whole(enlarge(samples, Tiler(bicubic, 4)))[..., 3]
    assert (np.rint(alpha * 65535) == 65535 * value).all()


def test_values_beyond_the_range_are_clipped():
    samples = noise(4, 5, 3)
    result = whole(enlarge(samples, Tiler(lambda lr: (3 * lr - 1).half(), 1)))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (3 * whole(samples) - 1).clip(0, 1), atol=2e-3)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_network_that_gives_no_numbers_is_an_error(value):
    with pytest.raises(UserError, match='float32'):
        whole(enlarge(noise(4, 5, 3), Tiler(lambda lr: lr * value, 1)))


def test_a_result_may_be_enlarged_again():
    samples = noise(9, 7, 3)
    twice = enlarge(enlarge(samples, Tiler(nearest, 2)), Tiler(nearest, 2))
    assert (whole(twice) == whole(samples).repeat(4, 0).repeat(4, 1)).all()
    assert rgb_of(whole(twice)).shape == (36, 28, 3)
    assert sum(len(band) for band in bands_of(twice)) == 36
