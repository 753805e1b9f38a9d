"""Local attribution maps, against closed forms and networks of known receptive field."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sst.analysis import Region, diffusion_index, gini, gradient_strength, local_attribution
from sst.analysis.attribution import blurred


def linear_network(size: int, scale: int, seed: int = 0):
    """SR as a linear function of all LR values, and its matrix (SR values, LR values)."""
    generator = torch.Generator().manual_seed(seed)
    out = 3 * (scale * size) ** 2
    matrix = torch.randn(out, 3 * size**2, generator=generator, dtype=torch.float64)
    return lambda lr: (lr.flatten(1) @ matrix.T).view(-1, 3, scale * size, scale * size), matrix


def in_region(sr, region):
    return sr[..., region.top : region.top + region.height, region.left : region.left + region.width].sum()


@pytest.mark.parametrize('steps', [1, 7])
def test_a_linear_network_has_a_closed_form(steps):
    """The attribution of value i is (image - blurred image)_i times the detector's derivative, whatever the steps."""
    predict, matrix = linear_network(size=5, scale=2)
    lr = torch.rand(1, 3, 5, 5, dtype=torch.float64)
    region = Region(2, 3, 4, 5)
    found = local_attribution(predict, lr, region, detector=in_region, sigma=1.5, steps=steps)
    mask = torch.zeros(1, 3, 10, 10, dtype=torch.float64)
    mask[..., 2:6, 3:8] = 1
    expected = (lr - blurred(lr, 1.5)) * (mask.flatten() @ matrix).view_as(lr)
    assert_close(found.signed, expected[0], 1e-12)
    assert found.difference == pytest.approx(expected.sum().item())


def test_attributions_sum_to_the_difference_of_the_detector():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    net = net.double().requires_grad_(False)
    lr = torch.rand(1, 3, 12, 12, dtype=torch.float64)
    found = local_attribution(net, lr, Region(8, 8, 6, 6), steps=200)
    assert found.signed.sum().item() == pytest.approx(found.difference, rel=1e-3)


@pytest.mark.parametrize('layers', [1, 2, 4])
def test_nothing_outside_the_receptive_field_is_attributed(layers):
    """`layers` convolutions of 3x3 reach `layers` pixels beyond the region."""
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers))).requires_grad_(False)
    region = Region(10, 10, 4, 4)
    found = local_attribution(net, torch.rand(1, 3, 24, 24), region, steps=4)
    reach = layers  # and one pixel more below and to the right, for the forward differences
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[10 - reach : 14 + reach + 1, 10 - reach : 14 + reach + 1] = True
    assert not found.strength[~inside].any()
    assert (found.strength[inside] > 0).float().mean() > 0.9


def test_the_index_grows_with_the_receptive_field():
    torch.manual_seed(0)
    lr = torch.rand(1, 3, 32, 32)

    def index(size):
        weight = torch.full((3, 1, size, size), 1 / size**2)
        return local_attribution(
            lambda x: F.conv2d(x, weight, padding=size // 2, groups=3), lr, Region(14, 14, 4, 4), steps=8
        ).index

    indices = [index(size) for size in (1, 5, 9, 17)]
    assert indices == sorted(indices)
    assert indices[-1] > 3 * indices[0]


@given(st.integers(1, 400), st.floats(0.1, 1e6))
def test_gini_of_equal_numbers_and_of_a_single_one(count, value):
    assert gini(torch.full((count,), value)) == pytest.approx(0, abs=1e-9)
    alone = torch.zeros(count)
    alone[count // 2] = value
    assert gini(alone) == pytest.approx(1 - 1 / count)
    assert diffusion_index(alone) == pytest.approx(100 / count)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_gini_is_the_mean_difference_over_twice_the_mean(values):
    numbers = torch.tensor(values, dtype=torch.float64)
    expected = 0.0
    if numbers.sum() > 0:
        expected = ((numbers[:, None] - numbers[None, :]).abs().mean() / (2 * numbers.mean())).item()
    assert gini(numbers) == pytest.approx(expected, abs=1e-9)


def test_the_detector_measures_edges_in_the_region_alone():
    sr = torch.zeros(1, 3, 8, 8)
    sr[..., :, 4:] = 1  # an edge between columns 3 and 4
    assert gradient_strength(sr, Region(0, 2, 4, 3)).item() == pytest.approx(4 * 3, abs=1e-3)
    assert gradient_strength(sr, Region(0, 5, 4, 3)).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ('shape', 'region', 'how', 'named'),
    [
        ((2, 3, 8, 8), Region(0, 0, 2, 2), {}, 'lr'),
        ((1, 3, 8, 8), Region(7, 0, 2, 2), {}, '8x8'),
        ((1, 3, 8, 8), Region(0, 0, 2, 2), {'sigma': 0}, 'sigma'),
        ((1, 3, 8, 8), Region(0, 0, 2, 2), {'steps': 0}, 'steps'),
    ],
)
def test_what_makes_no_sense_is_refused(shape, region, how, named):
    with pytest.raises(ValueError, match=named):
        local_attribution(lambda x: x, torch.rand(shape), region, **how)
