"""The levels of consistency training against closed forms."""

import pytest
import torch

from sst.models.consistency import at_levels, drawn_level, layer_seed, level, levels, levels_at, sample_noise
from sst.options.consistency import Consistency

RELEASED = Consistency().model_dump()


def options(**changes):
    return Consistency(**changes).model_dump()


@pytest.mark.parametrize(('iteration', 'count'), [(1, 5), (199_999, 5), (200_000, 4), (399_999, 4), (400_000, 4)])
def test_the_released_schedule_has_five_levels_and_then_four(iteration, count):
    assert levels_at(iteration, RELEASED, 400_000) == count
    assert levels_at(iteration, options(length=400_000), 1_000_000) == count


@pytest.mark.parametrize(
    ('steps', 'counts'),
    [((1, 3), [2] * 9 + [3] * 10 + [4] * 11), ((2, 2), [3] * 30), ((3, 1), [4] * 9 + [3] * 10 + [2] * 11)],
)
def test_the_number_of_levels_changes_evenly(steps, counts):
    schedule = options(start_steps=steps[0], end_steps=steps[1])
    assert [levels_at(iteration, schedule, 30) for iteration in range(1, 31)] == counts


def test_a_run_shorter_than_its_changes_ends_where_it_should():
    schedule = options(start_steps=9, end_steps=2)
    assert [levels_at(iteration, schedule, 3) for iteration in (1, 7, 100)] == [9, 3, 3]


@pytest.mark.parametrize('count', [2, 4, 5])
def test_released_levels_lie_evenly(count):
    for index in range(count):
        assert level(index, count, RELEASED) == pytest.approx((index / (count - 1), index / (count - 1)))


def test_powers_and_limits():
    schedule = options(sigma_min=0.04, noise_rho=2, residual_rho=3)
    assert level(0, 3, schedule) == pytest.approx((0, 0.04))
    assert level(1, 3, schedule) == pytest.approx((0.5**3, ((0.2 + 1) / 2) ** 2))
    assert level(2, 3, schedule) == pytest.approx((1, 1))


def test_level_zero_is_the_hr_image_and_the_last_the_noisy_enlarged_one():
    gt, enlarged, noise = torch.randn(3, 2, 3, 8, 8)
    x = at_levels(levels([0, 4], 5, RELEASED), gt, enlarged, noise)
    assert torch.equal(x[0], gt[0])
    torch.testing.assert_close(x[1], (enlarged + noise)[1])
    places = torch.tensor([[0.25, 0.5], [0.5, 0.0]])
    x = at_levels(places, gt, enlarged, noise)
    torch.testing.assert_close(x[0], (0.75 * gt + 0.25 * enlarged + 0.5 * noise)[0])
    torch.testing.assert_close(x[1], (0.5 * gt + 0.5 * enlarged)[1])


def test_steps_are_drawn_evenly_from_the_seed_and_the_place_in_the_stream():
    drawn = [drawn_level(7, iteration, 5) for iteration in range(1, 2001)]
    assert drawn == [drawn_level(7, iteration, 5) for iteration in range(1, 2001)]
    assert drawn != [drawn_level(8, iteration, 5) for iteration in range(1, 2001)]
    assert [drawn.count(index) for index in range(4)] == pytest.approx([500] * 4, rel=0.15)
    assert {drawn_level(7, iteration, 2) for iteration in range(20)} == {0}


def test_noise_belongs_to_the_place_in_the_stream():
    whole = sample_noise(3, [4, 5, 6, 7], (3, 32, 32))
    assert torch.equal(sample_noise(3, [5, 7], (3, 32, 32)), whole[1::2])
    assert not torch.equal(sample_noise(4, [4], (3, 32, 32)), whole[:1])
    assert whole.mean().item() == pytest.approx(0, abs=0.05)
    assert whole.std().item() == pytest.approx(1, abs=0.03)


def test_layers_draw_otherwise_in_every_process_and_iteration():
    seeds = {layer_seed(0, iteration, rank) for iteration in range(50) for rank in range(4)}
    assert len(seeds) == 200
