import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sst.models.schedule import learning_rate

X2 = {'type': 'MultiStepLR', 'milestones': [250_000, 400_000, 450_000, 475_000, 490_000], 'gamma': 0.5}


@pytest.mark.parametrize(
    ('iteration', 'rate'),
    [
        (1, 5e-4 / 20_000),
        (10_000, 2.5e-4),
        (19_999, 5e-4 * 19_999 / 20_000),
        (20_000, 5e-4),
        (20_001, 5e-4),
        (250_000, 5e-4),
        (250_001, 2.5e-4),
        (400_001, 1.25e-4),
        (450_001, 6.25e-5),
        (475_001, 3.125e-5),
        (490_001, 1.5625e-5),
        (500_000, 1.5625e-5),
    ],
)
def test_the_published_schedule(iteration, rate):
    assert learning_rate(iteration, 5e-4, X2, warmup=20_000) == pytest.approx(rate, rel=1e-12)


@given(st.lists(st.integers(1, 60), unique=True, max_size=4).map(sorted), st.floats(0.1, 0.9))
def test_multi_step_equals_torchs(milestones, gamma):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma)
    options = {'type': 'MultiStepLR', 'milestones': milestones, 'gamma': gamma}
    for iteration in range(1, 70):
        assert learning_rate(iteration, 1.0, options) == pytest.approx(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()


def test_cosine_equals_basicsrs():
    from basicsr.models.lr_scheduler import CosineAnnealingRestartLR

    keywords = {'periods': [10, 20, 5], 'restart_weights': [1, 0.5, 0.25], 'eta_min': 0.01}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = CosineAnnealingRestartLR(optimizer, **keywords)
    options = {'type': 'CosineAnnealingRestartLR', **keywords}
    for iteration in range(1, 36):
        assert learning_rate(iteration, 1.0, options) == pytest.approx(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()


def test_cosine_stays_at_its_end_when_training_goes_on():
    options = {'type': 'CosineAnnealingRestartLR', 'periods': [10]}
    assert learning_rate(11, 1.0, options) == pytest.approx(0)
    assert learning_rate(25, 1.0, options) == pytest.approx(0)
    assert learning_rate(6, 1.0, options) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_unknown_scheduler():
    with pytest.raises(KeyError, match='OneCycle'):
        learning_rate(1, 1.0, {'type': 'OneCycle'})
