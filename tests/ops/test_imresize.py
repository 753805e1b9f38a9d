import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.ops.imresize import (
    crop_to_multiple,
    imresize,
    imresize_reference,
    imresize_rows,
    imresize_to,
)

SCALES = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(2), Fraction(3), Fraction(4)]


def kernel(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resize_line(line, scale):
    """The formula, one output value after the other."""
    size = len(line)
    stretch = max(1.0, 1 / float(scale))
    result = []
    for i in range(math.ceil(size * scale)):
        centre = float((i + Fraction(1, 2)) / scale - Fraction(1, 2))
        total = weight_sum = 0.0
        for j in range(math.floor(centre - 2 * stretch) - 1, math.ceil(centre + 2 * stretch) + 2):
            position = j % (2 * size)
            weight = kernel((centre - j) / stretch)
            total += weight * line[min(position, 2 * size - 1 - position)]
            weight_sum += weight
        result.append(total / weight_sum)
    return np.array(result)


def resize_slowly(image, scale, finish):
    rows = finish(np.stack([resize_line(column, scale) for column in image.T.astype(float)], axis=1))
    return finish(np.stack([resize_line(row, scale) for row in rows], axis=0))


def random_picture(shape, seed=0, dtype=np.uint8):
    values = np.random.default_rng(seed).integers(0, np.iinfo(np.uint16).max + 1, shape)
    return (values >> 8).astype(dtype) if dtype == np.uint8 else values.astype(dtype)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(SCALES), st.integers(0, 1000))
def test_equals_the_formula(height, width, scale, seed):
    image = random_picture((height, width), seed) / 255
    expected = resize_slowly(image, scale, finish=lambda values: values)
    np.testing.assert_allclose(imresize(image, scale), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('scale', SCALES, ids=str)
def test_integers_are_rounded_and_clipped_after_each_pass(scale, dtype):
    image = random_picture((17, 22), dtype=dtype)
    image[4:8, 5:12] = np.iinfo(dtype).max  # makes overshoots
    image[9:12, 5:12] = 0
    expected = resize_slowly(image, scale, lambda values: np.floor(np.clip(values, 0, np.iinfo(dtype).max) + 0.5))
    result = imresize(image, scale)
    assert result.dtype == dtype
    # the two sum in different orders: a value that lies on .5 may go either way, no other
    assert (result != expected).mean() < 0.01
    assert np.abs(result - expected).max() <= 1


@settings(max_examples=150)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.sampled_from([2, 3, 4]),
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(0, 6),
    st.integers(0, 1000),
)
def test_fast_path_equals_the_reference(height, width, channels, factor, dtype, dropped_bits, seed):
    """Few levels make overshoots, and values that lie on a half exactly."""
    image = random_picture((height, width, *channels), seed, dtype) >> dropped_bits << dropped_bits
    scale = Fraction(1, factor)
    assert np.array_equal(imresize(image, scale), imresize_reference(image, scale))


def test_known_values():
    """A step, halved: weights (-3, -9, 29, 111, 111, 29, -9, -3) / 256, worked out by hand."""
    step = np.array([[0, 0, 0, 0, 0, 100, 100, 100, 100, 100]], np.uint8)
    assert imresize(np.repeat(step, 2, axis=0), 0.5).tolist() == [[0, 0, 50, 105, 100]]
    expected = [0, -4.6875, 50, 104.6875, 100]
    assert imresize(step.astype(float), 0.5)[0].tolist() == pytest.approx(expected)


def test_one_third_as_float_is_exact():
    image = random_picture((30, 31))
    assert imresize(image, 1 / 3).shape == (10, 11)
    assert np.array_equal(imresize(image, 1 / 3), imresize(image, Fraction(1, 3)))


@pytest.mark.parametrize('scale', SCALES, ids=str)
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_constant_stays_constant(scale, dtype):
    result = imresize(np.full((13, 7, 3), 201, dtype), scale)
    assert result.shape == (math.ceil(13 * scale), math.ceil(7 * scale), 3)
    np.testing.assert_allclose(result, 201, rtol=1e-6)


@pytest.mark.parametrize('scale', SCALES, ids=str)
def test_mirrored_and_turned_pictures(scale):
    image = random_picture((24, 36, 3)) / 255  # multiples of all scales: else the rest lies at one side
    for change in (np.flipud, np.fliplr, lambda picture: picture.swapaxes(0, 1)):
        np.testing.assert_allclose(imresize(change(image), scale), change(imresize(image, scale)), atol=1e-13)


def test_channels_are_independent():
    image = random_picture((15, 9, 5))
    result = imresize(image, 2)
    for channel in range(5):
        assert np.array_equal(result[..., channel], imresize(image[..., channel], 2))


@pytest.mark.parametrize(
    ('image', 'scale', 'error', 'words'),
    [
        (np.zeros((4, 4), np.int32), 2, TypeError, 'int32'),
        (np.zeros(4), 2, ValueError, r'\(4,\)'),
        (np.zeros((0, 4)), 2, ValueError, r'\(0, 4\)'),
        (np.zeros((4, 4)), 0, ValueError, 'scale'),
        (np.zeros((4, 4)), -2, ValueError, 'scale'),
    ],
)
def test_refusals(image, scale, error, words):
    with pytest.raises(error, match=words):
        imresize(image, scale)


def test_crop_to_multiple():
    image = random_picture((11, 14, 3))
    assert np.array_equal(crop_to_multiple(image, 4), image[:8, :12])
    with pytest.raises(ValueError, match='14x11.*12'):
        crop_to_multiple(image, 12)


SIDE = st.integers(1, 40)


@given(SIDE, SIDE, SIDE, SIDE, st.integers(1, 9), st.integers(1, 3))
def test_bands_give_what_the_whole_picture_gives(height, width, to_height, to_width, rows, channels):
    picture = np.random.default_rng(height).random((height, width, channels))
    bands = (picture[top : top + rows] for top in range(0, height, rows))
    result = list(imresize_rows(bands, (height, width), (to_height, to_width)))
    np.testing.assert_allclose(np.concatenate(result), imresize_to(picture, (to_height, to_width)), atol=1e-12)


def test_bands_are_given_as_soon_as_they_can_be():
    taken = []

    def bands():
        for top in range(0, 1000, 10):
            taken.append(top)
            yield np.zeros((10, 4, 3), np.float32)

    first = next(imresize_rows(bands(), (1000, 4), (500, 2)))
    assert first.dtype == np.float32
    assert len(taken) <= 2


@pytest.mark.parametrize('scale', [2, 0.5, 3])
def test_a_size_of_equal_ratios_is_a_scale(scale):
    picture = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    size = int(24 * scale), int(36 * scale)
    assert (imresize_to(picture, size) == imresize(picture, scale)).all()


def test_a_size_without_pixels_is_refused():
    with pytest.raises(ValueError, match='at least 1.*0'):
        imresize_to(np.zeros((4, 4)), (4, 0))
