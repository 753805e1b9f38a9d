"""What the formulas of the kernels get: cut-offs, families, and the ranges of their shape beta."""

import math
from collections import Counter

import numpy as np
import pytest

from sst.data import blur_kernels
from sst.data.blur_kernels import blur_kernel, sinc_kernel


@pytest.fixture
def drawn(monkeypatch):
    """Calls of BasicSR's formulas, in order: their names, arguments and whether the kernel is to be round."""
    calls = []

    def noted(name):
        def formula(*arguments, isotropic=None):
            calls.append((name, arguments, isotropic))
            size = arguments[1] if name == 'circular_lowpass_kernel' else arguments[0]
            return np.full((size, size), 1 / size**2)

        return formula

    formulas = ('bivariate_Gaussian', 'bivariate_generalized_Gaussian', 'bivariate_plateau', 'circular_lowpass_kernel')
    for name in formulas:
        monkeypatch.setattr(blur_kernels, name, noted(name))
    return calls


@pytest.mark.parametrize(
    ('size', 'lowest'), [(3, math.pi / 3), (11, math.pi / 3), (13, math.pi / 5), (19, math.pi / 5)]
)
def test_the_cut_off_of_a_kernel_of_known_size(drawn, size, lowest):
    rng = np.random.default_rng(0)
    for _ in range(300):
        blur_kernel([0.2, 3], 1, rng, [size], trim=False)
    assert {(name, arguments[1]) for name, arguments, _ in drawn} == {('circular_lowpass_kernel', size)}
    assert_even([arguments[0] for _, arguments, _ in drawn], lowest, math.pi)


def test_the_last_filter_has_the_usual_cut_off_at_all_sizes(drawn):
    rng = np.random.default_rng(0)
    for _ in range(300):
        sinc_kernel(rng, sizes=[13, 15])
    assert {arguments[1] for _, arguments, _ in drawn} == {13, 15}
    assert_even([arguments[0] for _, arguments, _ in drawn], math.pi / 3, math.pi)


def assert_even(values, low, high):
    """Even draws from a range: they reach both of its ends, and their mean is in the middle."""
    assert low <= min(values) < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < max(values) <= high
    assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_families_and_their_shares(drawn):
    rng = np.random.default_rng(0)
    for _ in range(3000):
        blur_kernel([0.2, 3], 0.1, rng, [5], trim=False)
    shares = {
        (name, is_round): count / 3000 for (name, is_round), count in Counter((n, r) for n, _, r in drawn).items()
    }
    assert shares == pytest.approx(
        {
            ('circular_lowpass_kernel', None): 0.1,
            ('bivariate_Gaussian', True): 0.9 * 0.45,
            ('bivariate_Gaussian', False): 0.9 * 0.25,
            ('bivariate_generalized_Gaussian', True): 0.9 * 0.12,
            ('bivariate_generalized_Gaussian', False): 0.9 * 0.03,
            ('bivariate_plateau', True): 0.9 * 0.12,
            ('bivariate_plateau', False): 0.9 * 0.03,
        },
        abs=0.03,
        rel=0.25,
    )


@pytest.mark.parametrize(
    ('family', 'low', 'high'), [('bivariate_generalized_Gaussian', 0.5, 4), ('bivariate_plateau', 1, 2)]
)
def test_half_of_the_betas_lie_above_1(drawn, family, low, high):
    rng = np.random.default_rng(0)
    for _ in range(6000):
        blur_kernel([0.2, 3], 0, rng, [5], trim=False)
    betas = np.array([arguments[4] for name, arguments, _ in drawn if name == family])
    above = betas[betas > 1]
    assert len(above) / len(betas) == pytest.approx(0.5, abs=0.06)
    assert_even(above, 1, high)
    if low == 1:
        assert set(betas[betas <= 1]) == {1}
    else:
        assert_even(betas[betas <= 1], low, 1)


def test_sigmas_and_angle_are_even(drawn):
    rng = np.random.default_rng(0)
    for _ in range(1000):
        blur_kernel([0.2, 1.5], 0, rng, [7], trim=False)
    sizes, *sigmas, angles = zip(*[arguments[:4] for _, arguments, _ in drawn], strict=True)
    assert set(sizes) == {7}
    for values in sigmas:
        assert_even(values, 0.2, 1.5)
    assert_even(angles, -math.pi, math.pi)
