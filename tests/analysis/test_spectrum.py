"""Spectra of known errors."""

import numpy as np
import pytest

from sst.analysis import error_spectrum


def test_white_noise_has_its_variance_at_every_frequency():
    noise = np.random.default_rng(0).normal(0, 5, (256, 300))
    frequencies, power = error_spectrum(100 + noise, np.full((256, 300), 100.0), bins=16)
    assert frequencies[0] == pytest.approx(1 / 64)
    assert power == pytest.approx(np.full(16, 25), rel=0.15)


@pytest.mark.parametrize('cycles', [6, 20, 50])
def test_a_wave_stands_in_its_ring(cycles):
    x = np.arange(128)
    wave = np.sin(2 * np.pi * cycles * x / 128)[None, :].repeat(128, 0)
    frequencies, power = error_spectrum(wave, np.zeros_like(wave), bins=32)
    assert abs(frequencies[power.argmax()] - cycles / 128) <= 1 / 128
    assert power.max() > 100 * np.median(power)


def test_equal_images_have_no_power():
    image = np.random.default_rng(0).random((40, 50))
    assert not error_spectrum(image, image, bins=8)[1].any()


@pytest.mark.parametrize(
    ('first', 'second', 'bins'), [((4, 4), (4, 5), 4), ((4, 4, 3), (4, 4, 3), 4), ((4, 4), (4, 4), 0)]
)
def test_what_makes_no_sense_is_refused(first, second, bins):
    with pytest.raises(ValueError, match='bins'):
        error_spectrum(np.zeros(first), np.zeros(second), bins)
