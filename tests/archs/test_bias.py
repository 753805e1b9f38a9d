"""Values of the positional biases against their formulas, written out once more with loops."""

import math

import pytest
import torch
from helpers import assert_close

from sst.archs.bias.cpe import CPE
from sst.archs.bias.factored import RIB, SIREN, FlashBias
from sst.archs.bias.rope import RoPE
from sst.archs.bias.rpb import RPB


def coordinate(token, window):
    return [2 * (axis + 0.5) / window - 1 for axis in (token % window, token // window)]


@pytest.mark.parametrize('window', [1, 4, 6])
def test_rib_is_equations_1_to_3(window):
    bias = RIB(window, 2, 3, hidden=5, bands=4)
    term = bias.term()
    for token in range(window * window):
        p = coordinate(token, window)
        embedding = list(p)
        for band in range(4):
            embedding += [math.sin(2**band * c) for c in p] + [math.cos(2**band * c) for c in p]
        hidden = (torch.tensor(embedding) @ bias.hidden_weight + bias.hidden_bias).relu()
        for head in range(2):
            assert_close(term.q[head, token], hidden @ bias.query_weight[head] / 3**0.5, 1e-5)
            assert_close(term.k[head, token], hidden @ bias.key_weight[head], 1e-5)


def test_rib_stays_in_float32_when_the_network_is_half():
    full = RIB(16, 2, 8)
    expected = full.term().materialize()
    half = full.half().term().materialize()
    assert half.dtype == torch.float32
    assert_close(half, expected, 5e-3)  # rounded weights; rounded Fourier features would be off by far more


def test_siren_is_a_sine_of_the_coordinates():
    bias = SIREN(3, 2, 4, hidden=5)
    p = torch.tensor(coordinate(5, 3))
    hidden = (30 * (p @ bias.hidden_weight + bias.hidden_bias)).sin()
    assert_close(bias.term().k[1, 5], hidden @ bias.key_weight[1], 1e-5)


def test_flashbias_can_leave_its_start():
    bias = FlashBias(4, 2, 3)
    assert_close(bias.term().materialize(), bias.query @ bias.key.transpose(1, 2) / 3**0.5, 1e-6)
    bias.term().materialize().square().sum().backward()
    assert bias.query.grad.abs().sum() > 0


def test_rpb_has_one_number_per_head_and_offset():
    assert RPB(4, 3).table.shape == (3, 49)


def test_rope_turns_by_pixels_times_frequencies():
    bias = RoPE(4, 2, 20)  # d' = 12
    angle = bias.rotation().angle
    fx, fy = bias.frequencies
    assert angle.shape == (2, 16, 6)
    assert_close(angle[1, 4 * 3 + 2], 2 * fx[1] + 3 * fy[1], 1e-6)


def test_rope_starts_with_the_published_magnitudes():
    fx, fy = RoPE(4, 2, 24).frequencies
    expected = torch.tensor([10 ** (-k / 12) for k in (0, 4, 8)] * 2)
    assert_close((fx**2 + fy**2).sqrt(), expected.expand(2, -1), 1e-6)
    assert_close(fx[:, :3] * fx[:, 3:] + fy[:, :3] * fy[:, 3:] + 1, torch.ones(2, 3), 1e-6)  # a quarter turn apart


def test_cpe_adds_a_depthwise_convolution_of_the_features():
    bias = CPE(6)
    x = torch.rand(1, 5, 4, 6)
    expected = x + torch.nn.functional.conv2d(
        x.permute(0, 3, 1, 2), bias.conv.weight, bias.conv.bias, padding=1, groups=6
    ).permute(0, 2, 3, 1)
    assert_close(bias.features(x), expected, 1e-6)
    assert bias.term() is None
