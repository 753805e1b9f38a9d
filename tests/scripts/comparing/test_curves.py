import numpy as np
import pytest

from comparing.curves import EARLY, HALF_LIMITS, LIMITS, NUDGES, SMOOTH, judge, relative_differences, smoothed

COUNT = 60
REFERENCE = np.geomspace(0.3, 0.03, COUNT) * (1 + 0.1 * np.sin(np.arange(COUNT)))


def curve(apart=0.0, amp=None, first=0):
    """A curve that lies `apart` above the reference from iteration `first` on."""
    factors = np.where(np.arange(COUNT) >= first, 1 + apart, 1.0)
    return {'train': {'amp': amp}, 'losses': (REFERENCE * factors).tolist()}


def judged(way, nudge=0.0):
    curves = [curve(), curve(nudge), way]
    judge(curves)
    assert not curves[0]['wrong']
    assert not curves[1]['wrong']
    return way


def test_differences_are_relative():
    assert relative_differences([0.1, 0.3], [0.2, 0.2]) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize('count', [1, SMOOTH - 1, SMOOTH, SMOOTH + 3])
def test_smoothed_are_means(count):
    losses = REFERENCE[:count]
    width = min(count, SMOOTH)
    expected = [losses[start : start + width].mean() for start in range(count - width + 1)]
    assert smoothed(losses.tolist()) == pytest.approx(expected)


def test_equal_curves_are_right():
    way = judged(curve())
    assert not way['wrong']
    assert way['early'] == way['mean'] == way['max'] == way['smoothed'] == 0


@pytest.mark.parametrize(('factor', 'wrong'), [(0.9, False), (1.1, True)])
def test_float32_must_begin_as_the_reference(factor, wrong):
    assert judged(curve(factor * LIMITS['early']))['wrong'] is wrong


@pytest.mark.parametrize(('factor', 'wrong'), [(0.9, False), (1.1, True)])
def test_float32_may_not_leave_the_reference_later(factor, wrong):
    apart = factor * LIMITS['mean'] * COUNT / (COUNT - EARLY)
    assert judged(curve(apart, first=EARLY))['wrong'] is wrong


@pytest.mark.parametrize(('factor', 'wrong'), [(0.9, False), (1.1, True)])
def test_half_precision_is_judged_smoothed(factor, wrong):
    assert judged(curve(factor * HALF_LIMITS['smoothed'], amp='bf16'))['wrong'] is wrong
    alternating = curve(amp='bf16')
    for place in range(EARLY, COUNT, 2):
        alternating['losses'][place] *= 1 + factor * HALF_LIMITS['smoothed']
    assert not judged(alternating)['wrong']


@pytest.mark.parametrize(('factor', 'wrong'), [(0.9, False), (1.1, True)])
def test_half_precision_must_begin_near_the_reference(factor, wrong):
    way = curve(amp='bf16')
    way['losses'][0] *= 1 + factor * HALF_LIMITS['early']
    assert judged(way)['wrong'] is wrong


@pytest.mark.parametrize(('factor', 'wrong'), [(0.9 * NUDGES, False), (1.1 * NUDGES, True)])
def test_no_way_is_asked_to_be_nearer_than_rounding_allows(factor, wrong):
    nudge = 2 * max(LIMITS['mean'], LIMITS['early'])
    assert judged(curve(factor * nudge), nudge)['wrong'] is wrong


def test_a_loss_that_is_no_number_is_wrong():
    way = curve()
    way['losses'][-1] = float('nan')
    assert judged(way)['wrong']
