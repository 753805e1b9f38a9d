"""LR made by Real-ESRGAN's degradations: registered with HR, of the strength that is asked for."""

import numpy as np
import pytest
from skimage import data

from sst.data.blur_kernels import blur_kernel, sinc_kernel
from sst.data.degradation import degrade
from sst.data.degradation_options import Degradation
from sst.ops.imresize import imresize

OFF = {'blur_prob': 0, 'resize_prob': [0, 0, 1], 'noise_prob': 0, 'jpeg_prob': 0}


def options(first=None, second=None, final_sinc_prob=0):
    """No degradations but those that are given."""
    section = {'first': OFF | (first or {}), 'second': OFF | (second or {}), 'final_sinc_prob': final_sinc_prob}
    return Degradation(**section).model_dump()


def photograph(height=96, width=144):
    return np.ascontiguousarray(data.astronaut()[:height, 100 : 100 + width])


def degraded(hr, scale, seed=0, **changes):
    return degrade(hr, scale, options(**changes), np.random.default_rng(seed))


@pytest.mark.parametrize('scale', [1, 2, 3, 4])
def test_without_degradations_lr_is_plain_bicubic(scale):
    lr = degraded(photograph(), scale).astype(int)
    assert lr.shape == (96 // scale, 144 // scale, 3)
    assert np.abs(lr - imresize(photograph(), 1 / scale)).max() <= 1


def centre_of_mass(picture):
    weights = picture[..., 0].astype(float)
    return [
        (weights.sum(axis=1 - axis) * (np.arange(weights.shape[axis]) + 0.5)).sum() / weights.sum() for axis in (0, 1)
    ]


STEPS = {
    'blur': {'first': {'blur_prob': 1, 'blur_sigma': [2, 3]}},
    'second blur': {'second': {'blur_prob': 1}},
    'low-pass filter': {'first': {'blur_prob': 1, 'sinc_prob': 1}, 'final_sinc_prob': 1},
    'enlarged': {'first': {'resize_prob': [1, 0, 0]}, 'second': {'resize_prob': [1, 0, 0]}},
    'shrunk': {'first': {'resize_prob': [0, 1, 0], 'resize_range': [0.4, 1]}},
    'shrunk twice': {'second': {'resize_prob': [0, 1, 0], 'resize_range': [0.6, 1]}},
    'compressed': {'second': {'jpeg_prob': 1, 'jpeg_range': [95, 95]}},
}


@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('scale', [2, 4])
def test_no_step_moves_the_picture(step, scale):
    """A smooth spot, so that resizing without antialiasing sees it too, at a place without symmetry."""
    rows, columns = np.mgrid[:160, :208] + 0.5
    spot = 250 * np.exp(-((rows - 68.3) ** 2 + (columns - 121.8) ** 2) / (2 * 12**2))
    hr = np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=2)
    places = [centre_of_mass(degraded(hr, scale, seed, **STEPS[step])) for seed in range(20)]
    assert np.multiply(np.mean(places, axis=0), scale) == pytest.approx([68.3, 121.8], abs=0.25)
    assert np.multiply(places, scale) == pytest.approx(np.tile([68.3, 121.8], (20, 1)), abs=1)


def test_a_point_s_blur_lies_around_it():
    hr = np.zeros((80, 80, 3), np.uint8)
    hr[38:42, 50:54] = 255
    for seed in range(10):
        lr = degraded(hr, 1, seed, first={'blur_prob': 1, 'blur_sigma': [0.5, 2], 'sinc_prob': 0})
        assert centre_of_mass(lr) == pytest.approx([40, 52], abs=0.02)


def test_kernels_are_symmetric_and_keep_the_mean():
    rng = np.random.default_rng(0)
    kernels = [blur_kernel([0.2, 3], 0.1, rng) for _ in range(300)] + [sinc_kernel(rng) for _ in range(20)]
    for kernel in kernels:
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    sizes = {len(kernel) for kernel in kernels}
    assert max(sizes) == 21
    assert all(size % 2 for size in sizes)


def spread(kernel):
    """Standard deviation along an axis, in pixels."""
    places = np.arange(len(kernel)) - len(kernel) // 2
    return np.sqrt((kernel.sum(axis=0) * places**2).sum())


def test_sigma_sets_the_width():
    rng = np.random.default_rng(0)
    widths = [
        np.median([spread(blur_kernel([sigma, sigma], 0, rng)) for _ in range(100)]) for sigma in (0.2, 0.6, 1, 1.5)
    ]
    assert widths[0] < 0.3
    assert np.all(np.diff(widths) > 0.2)
    assert widths[2] == pytest.approx(1, abs=0.15)


def grey(value):
    return np.full((128, 128, 3), value, np.uint8)


def test_gaussian_noise_has_the_sigma_asked_for():
    noise = {'noise_prob': 1, 'gaussian_noise_prob': 1, 'noise_range': [10, 10]}
    coloured = degraded(grey(128), 1, first=noise | {'gray_noise_prob': 0}).astype(float)
    assert coloured.std() == pytest.approx(10, rel=0.05)
    assert np.abs(np.corrcoef(coloured.reshape(-1, 3).T) - np.eye(3)).max() < 0.05
    same = degraded(grey(128), 1, first=noise | {'gray_noise_prob': 1})
    assert same.std() == pytest.approx(10, rel=0.05)
    assert np.array_equal(same[..., 0], same[..., 2])


@pytest.mark.parametrize('in_grey', [0, 1])
def test_poisson_noise_grows_with_the_root_of_brightness(in_grey):
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 1024, axis=1), 3, axis=2)
    noise = {'noise_prob': 1, 'gaussian_noise_prob': 0, 'poisson_scale_range': [0.5, 0.5], 'gray_noise_prob': in_grey}
    noisy = degraded(ramp, 1, first=noise).astype(float)
    for level in (30, 60, 120, 200):  # 256 levels are as many photons: sigma is the root of the level / 255 * 256
        assert noisy[level].std() == pytest.approx(0.5 * 255 / 256 * np.sqrt(level * 256 / 255), rel=0.1)
        assert noisy[level].mean() == pytest.approx(level, abs=0.5)


def test_jpeg_s_quality_sets_the_loss():
    def loss(quality):
        lr = degraded(photograph(), 1, first={'jpeg_prob': 1, 'jpeg_range': [quality, quality]})
        return np.abs(lr.astype(int) - photograph()).mean()

    assert loss(10) > 1.3 * loss(40) > 1.3**2 * loss(95) > 0


def test_jpeg_keeps_colours():
    red = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    lr = degraded(red, 2, second={'jpeg_prob': 1, 'jpeg_range': [95, 95]})
    assert np.abs(lr.astype(int) - red[:16, :16]).max() <= 3


@pytest.mark.parametrize('side', [4, 8, 44])
def test_all_at_once_fits_any_size(side):
    section = Degradation().model_dump()
    hr = photograph(side, side + 4)
    for seed in range(20):
        lr = degrade(hr, 4, section, np.random.default_rng(seed))
        assert lr.shape == (side // 4, side // 4 + 1, 3)
        assert lr.dtype == np.uint8


def test_published_degradations_lie_between_plain_and_unrecognisable():
    hr = photograph(256, 256)
    lrs = [degrade(hr, 4, Degradation().model_dump(), np.random.default_rng(seed)) for seed in range(30)]
    errors = np.array([np.sqrt(np.mean((lr - imresize(hr, 0.25).astype(float)) ** 2)) for lr in lrs])
    assert 10 < np.median(errors) < 40
    assert len({lr.tobytes() for lr in lrs}) == 30
