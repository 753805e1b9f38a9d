"""LR for SSTReal: each step against a simple reference, and the order of the steps."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from basicsr.utils.diffjpeg import DiffJPEG
from skimage import data

from sst.data import build_dataset
from sst.data.blur_kernels import blur_kernel, sinc_kernel
from sst.data.degradation import filtered, noisy
from sst.data.real_dataset import RealDegradation
from sst.data.real_degradation import FIRST_SIZES, GREY, METHODS, SECOND_SIZES, degrade_as_released, resized
from sst.data.simulated_jpeg import CHROMA, LUMA, simulated_jpeg
from sst.data.stream import seeded

OFF = {'blur_prob': 0, 'resize_prob': [0, 0, 1], 'noise_prob': 0, 'jpeg_prob': 0}


def photograph(height=96, width=144):
    return np.ascontiguousarray(data.astronaut()[:height, 100 : 100 + width])


def options(first=None, second=None, **others):
    plain = {'second_prob': 0, 'final_sinc_prob': 0} | others
    return RealDegradation(first=OFF | (first or {}), second=OFF | (second or {}), **plain).model_dump()


def as_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image, np.float32).transpose(2, 0, 1).copy())[None]


def as_image(tensor):
    return tensor[0].permute(1, 2, 0).detach().numpy()


@pytest.mark.parametrize('quality', [5.5, 30, 49.9, 50, 77.7, 95])
@pytest.mark.parametrize('size', [(96, 144), (33, 50)])
def test_jpeg_equals_basicsr_s(quality, size):
    image = photograph(*size).astype(np.float32) / 255
    expected = as_image(DiffJPEG(differentiable=False)(as_tensor(image), quality=float(quality)))
    assert np.linalg.norm(simulated_jpeg(image, quality) - expected) < 1e-6 * np.linalg.norm(expected)


def test_jpeg_of_quality_100_rounds_nothing():
    grey = np.repeat(photograph()[..., :1], 3, axis=2).astype(np.float32) / 255
    assert np.abs(simulated_jpeg(grey, 100) - grey).max() < 1e-5


def test_the_tables_are_the_standard_s_and_luma_s_is_transposed():
    assert (LUMA[0, 1], LUMA[1, 0], LUMA[7, 0]) == (12, 11, 61)
    assert LUMA.sum() == 3688
    assert np.array_equal(CHROMA, CHROMA.T)
    assert CHROMA.sum() == 99 * 64 - sum(99 - value for row in CHROMA[:4, :4] for value in row)


def test_kernels_have_the_published_sizes():
    rng = np.random.default_rng(0)
    first = [blur_kernel([0.2, 3], 0.1, rng, FIRST_SIZES, trim=False) for _ in range(400)]
    second = [blur_kernel([0.2, 1.5], 0.1, rng, SECOND_SIZES, trim=False) for _ in range(200)]
    last = [sinc_kernel(rng, sizes=SECOND_SIZES) for _ in range(100)]
    assert {len(kernel) for kernel in first} == set(range(3, 20, 2))
    assert {len(kernel) for kernel in second} == {len(kernel) for kernel in last} == set(range(3, 14, 2))
    assert np.allclose([kernel.sum() for kernel in first + second + last], 1, atol=1e-5)


def test_blur_is_a_cross_correlation_of_the_reflected_image():
    image = photograph(20, 24).astype(np.float32) / 255
    kernel = np.random.default_rng(0).random((5, 5)).astype(np.float32)
    padded = F.pad(as_tensor(image), (2, 2, 2, 2), mode='reflect')
    expected = F.conv2d(padded, torch.from_numpy(kernel).expand(3, 1, 5, 5), groups=3)
    assert np.allclose(filtered(image, kernel), as_image(expected), atol=1e-5)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('factor', [0.37, 0.9, 1.0, 1.31])
def test_resizing_by_a_factor_rounds_the_size_down_and_keeps_the_factor(method, factor):
    image = photograph(50, 61).astype(np.float32) / 255
    size = int(50 * factor), int(61 * factor)
    corners = {} if method == 'area' else {'align_corners': False}
    expected = F.interpolate(as_tensor(image), scale_factor=factor, mode=method, **corners)
    assert np.array_equal(resized(image, size, method, factor), as_image(expected))
    if factor == 1:
        assert np.allclose(resized(image, size, method, factor), image, atol=1e-6)


def test_a_linear_ramp_resized_by_its_factor():
    """A coordinate x of the result lies at (x + 0.5) / factor - 0.5, though the size is rounded down."""
    ramp = np.repeat(np.arange(100, dtype=np.float32)[None, :, None], 3, axis=2).repeat(4, axis=0)
    places = np.arange(37)
    result = resized(ramp, (1, 37), 'bilinear', 0.375)[0, :, 0]
    assert np.allclose(result[1:-1], ((places + 0.5) / 0.375 - 0.5)[1:-1], atol=1e-4)


def test_poisson_noise_of_a_few_values():
    """Four values are four photons at full scale: noise is a multiple of 1 / 4."""
    image = np.tile(np.array([0, 51, 102, 255], np.float32) / 255, (64, 16))[..., None].repeat(3, axis=2)
    poisson = {'gaussian_noise_prob': 0, 'gray_noise_prob': 0, 'poisson_scale_range': [1, 1]}
    result = noisy(image, poisson, np.random.default_rng(0), GREY)
    dim = result[image == np.float32(51 / 255)]
    assert np.allclose(dim * 4, (dim * 4).round(), atol=1e-5)
    assert dim[dim < 1].size
    assert dim.mean() == pytest.approx(0.2, abs=0.03)
    assert not result[image == 0].any()


def test_grey_poisson_noise_is_the_same_in_all_colours():
    image = np.full((64, 64, 3), (0.5, 0.3, 0.4), np.float32)
    poisson = {'gaussian_noise_prob': 0, 'gray_noise_prob': 1, 'poisson_scale_range': [0.1, 0.1]}
    noise = noisy(image, poisson, np.random.default_rng(0), GREY) - image
    assert noise.any()
    assert np.allclose(noise[..., 0], noise[..., 1], atol=1e-6)


def test_without_degradations_lr_is_resized_and_its_enlargement_is_of_the_unrounded():
    hr = photograph()
    image = hr.astype(np.float32) / 255
    found = set()
    for seed in range(12):
        lr, enlarged = degrade_as_released(hr, 4, options(), np.random.default_rng(seed))
        small = {method: resized(image, (24, 36), method) for method in METHODS}
        (method,) = [name for name, picture in small.items() if np.array_equal(lr, to_8_bit(picture))]
        expected = F.interpolate(as_tensor(small[method]), size=(96, 144), mode='bicubic', align_corners=False)
        assert np.array_equal(enlarged, to_8_bit(as_image(expected)))
        found.add(method)
    assert found == set(METHODS)


def to_8_bit(image):
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


# ---- the order of the steps

SIDES = 96, 144
# Sections without a value in common, so that each value tells its section.
FIRST = {
    'blur_prob': 0.9,
    'blur_sigma': [0.5, 1.0],
    'sinc_prob': 0.2,
    'resize_prob': [0.2, 0.7, 0.1],
    'resize_range': [0.3, 1.6],
    'noise_prob': 0.6,
    'jpeg_prob': 0.7,
    'jpeg_range': [60, 90],
}
SECOND = {
    'blur_prob': 0.5,
    'blur_sigma': [1.5, 2.0],
    'sinc_prob': 0.3,
    'resize_prob': [0.3, 0.4, 0.3],
    'resize_range': [0.4, 1.2],
    'noise_prob': 0.8,
    'jpeg_prob': 0.6,
    'jpeg_range': [20, 50],
}
ALWAYS = {'blur_prob': 1, 'noise_prob': 1, 'jpeg_prob': 1}
FACTORS = {'first': 0.83, 'second': 1.17}  # that the stub of `resize_factor` gives


class Steps:
    """Stands in for the steps of the degradation and notes what each call gets.

    The first pixel of a result carries the number of its call, so that each step must get the result of the one
    before; the others lie outside of [0, 1], as after a bicubic enlargement.
    """

    def __init__(self, monkeypatch, sections):
        self.sections = sections
        self.calls = []  # (name, what it got) each
        names = ('blur_kernel', 'sinc_kernel', 'resize_factor', 'filtered', 'resized', 'noisy', 'simulated_jpeg')
        for name in names:
            monkeypatch.setattr(f'sst.data.real_degradation.{name}', getattr(self, name))

    def _noted(self, name, image, to=None, **details):
        assert image[0, 0, 0] == pytest.approx(len(self.calls) / 100)
        self.calls.append((name, details))
        result = np.empty((*(to or image.shape[:2]), 3), np.float32)
        result[:] = -0.5, 0.5, 1.5
        result[0, 0, 0] = len(self.calls) / 100
        return result

    def _section(self, found, *keys):
        """The name of the section that has these values."""
        (name,) = [name for name, section in self.sections.items() if [section[key] for key in keys] == found]
        return name

    def blur_kernel(self, sigmas, sinc_prob, rng, sizes, trim):
        name = self._section([sigmas, sinc_prob], 'blur_sigma', 'sinc_prob')
        assert (sizes, trim) == (range(3, 20, 2) if name == 'first' else range(3, 14, 2), False)
        return f'blur {name}'

    def sinc_kernel(self, rng, sizes):
        assert sizes == range(3, 14, 2)
        return 'sinc'

    def resize_factor(self, shares, limits, rng):
        return FACTORS[self._section([shares, limits], 'resize_prob', 'resize_range')]

    def filtered(self, image, kernel):
        return self._noted(kernel, image)

    def resized(self, image, size, method, factor=None):
        return self._noted('resize', image, size, size=size, method=method, factor=factor)

    def noisy(self, image, section, rng, grey):
        assert grey == (0.2989, 0.587, 0.114)
        (name,) = [name for name, each in self.sections.items() if each == section]
        return self._noted(f'noise {name}', image)

    def simulated_jpeg(self, image, quality):
        (name,) = [
            name for name, each in self.sections.items() if each['jpeg_range'][0] <= quality < each['jpeg_range'][1]
        ]
        return self._noted(f'jpeg {name}', image, quality=quality, least=image.min(), most=image.max())


def runs(monkeypatch, first, second, count=400, **others):
    """The steps of many degradations: for each a list of (name, what it got)."""
    section = options(FIRST | first, SECOND | second, **others)
    hr, found = np.zeros((*SIDES, 3), np.uint8), []
    steps = Steps(monkeypatch, {name: section[name] for name in ('first', 'second')})
    for seed in range(count):
        steps.calls = []
        degrade_as_released(hr, 4, section, np.random.default_rng(seed))
        found.append(steps.calls)
    return found


def test_steps_come_in_the_published_order(monkeypatch):
    found = runs(monkeypatch, ALWAYS, ALWAYS, second_prob=0.5, final_sinc_prob=1)
    orders = Counter(tuple(name for name, _ in calls) for calls in found)
    first = ('blur first', 'resize', 'noise first', 'jpeg first')
    second = ('blur second', 'resize', 'noise second')
    jpeg_last, jpeg_before = ('resize', 'sinc', 'jpeg second'), ('jpeg second', 'resize', 'sinc')
    expected = [first + more + last + ('resize',) for more in ((), second) for last in (jpeg_last, jpeg_before)]
    assert {order: count / len(found) for order, count in orders.items()} == pytest.approx(
        dict.fromkeys(expected, 0.25), abs=0.06
    )


def test_each_step_is_there_as_often_as_asked(monkeypatch):
    found = runs(monkeypatch, {}, {}, count=1000, second_prob=0.7, final_sinc_prob=0.4)
    names = Counter(name for calls in found for name, _ in calls)
    assert {name: count / len(found) for name, count in names.items()} == pytest.approx(
        {
            'blur first': 0.9,
            'noise first': 0.6,
            'jpeg first': 0.7,
            'blur second': 0.7 * 0.5,
            'noise second': 0.7 * 0.8,
            'sinc': 0.4,
            'jpeg second': 0.6,
            'resize': 3 + 0.7,
        },
        abs=0.05,
    )


def test_sizes_factors_and_methods_of_the_resizes(monkeypatch):
    found = [
        [details for name, details in calls if name == 'resize']
        for calls in runs(monkeypatch, {}, {}, second_prob=1, final_sinc_prob=1)
    ]
    for *drawn, enlarged in found:
        # 96 and 144 times 0.83, then 24 and 36 times 1.17, rounded down
        assert [(each['size'], each['factor']) for each in drawn] == [
            ((79, 119), FACTORS['first']),
            ((28, 42), None),
            ((24, 36), None),
        ]
        assert enlarged == {'size': SIDES, 'method': 'bicubic', 'factor': None}
    for place in range(3):
        shares = Counter(resizes[place]['method'] for resizes in found)
        assert {method: count / len(found) for method, count in shares.items()} == pytest.approx(
            {'area': 1 / 3, 'bilinear': 1 / 3, 'bicubic': 1 / 3}, abs=0.08
        )


def test_jpeg_gets_values_from_0_to_1_and_an_even_quality(monkeypatch):
    found = [
        (name, details)
        for calls in runs(monkeypatch, ALWAYS, ALWAYS, second_prob=0.5)
        for name, details in calls
        if name.startswith('jpeg')
    ]
    assert {(details['least'], details['most']) for _, details in found} == {(0, 1)}
    for name, (low, high) in {'jpeg first': (60, 90), 'jpeg second': (20, 50)}.items():
        qualities = [details['quality'] for each, details in found if each == name]
        assert len({quality % 1 for quality in qualities}) == len(qualities) == 400
        assert np.mean(qualities) == pytest.approx((low + high) / 2, abs=2)
        assert min(qualities) < low + 1 < high - 1 < max(qualities)


@pytest.mark.parametrize('side', [4, 8, 44])
def test_all_at_once_fits_any_size(side):
    section = RealDegradation().model_dump()
    for seed in range(20):
        lr, enlarged = degrade_as_released(photograph(side, side + 4), 4, section, np.random.default_rng(seed))
        assert (lr.shape, enlarged.shape) == ((side // 4, side // 4 + 1, 3), (side, side + 4, 3))
        assert lr.dtype == enlarged.dtype == np.uint8


@pytest.fixture
def section(tmp_path):
    import cv2

    for index in range(2):
        cv2.imwrite(str(tmp_path / f'{index}.png'), photograph(80, 90 + index))
    return {
        'name': 'real',
        'type': 'RealImageDataset',
        'dataroot_gt': str(tmp_path),
        'degradation': RealDegradation().model_dump(),
        'scale': 4,
    }


def test_samples_follow_from_the_stream(section):
    dataset = build_dataset(section | {'phase': 'train', 'gt_size': 64, 'use_hflip': True, 'use_rot': True})
    samples = []
    for position in (3, 3, 4):
        with seeded(0, position):
            samples.append(dataset[1])
    first, again, other = samples
    assert {key: tuple(first[key].shape) for key in ('lq', 'gt', 'lq_up')} == {
        'lq': (3, 16, 16),
        'gt': (3, 64, 64),
        'lq_up': (3, 64, 64),
    }
    for key in ('lq', 'gt', 'lq_up'):
        assert torch.equal(first[key], again[key])
        assert not torch.equal(first[key], other[key])
        assert torch.equal((255 * first[key]).round() / 255, first[key])


def test_a_small_image_is_extended_by_reflection(section):
    dataset = build_dataset(section | {'phase': 'train', 'gt_size': 128, 'use_hflip': False, 'use_rot': False})
    with seeded(0, 0):
        gt = dataset[0]['gt']
    assert torch.equal(gt[:, 80:100], gt[:, 59:79].flip(1))


def test_validation_degrades_an_image_by_its_name(section):
    first, again, other = (build_dataset(section | {'phase': 'val', 'seed': seed})[0] for seed in (0, 0, 1))
    assert first['gt'].shape[1:] == (80, 88)
    assert torch.equal(first['lq'], again['lq'])
    assert not torch.equal(first['lq'], other['lq'])
