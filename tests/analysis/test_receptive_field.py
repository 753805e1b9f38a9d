"""Effective receptive fields of networks whose field is known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sst.analysis import ReceptiveField, effective_receptive_field


@pytest.mark.parametrize('layers', [0, 1, 3])
@pytest.mark.parametrize('scale', [1, 2, 3])
def test_convolutions_of_three_reach_a_pixel_each(layers, scale):
    convolutions = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers))
    net = nn.Sequential(*convolutions, nn.Conv2d(3, 3 * scale**2, 1), nn.PixelShuffle(scale)).requires_grad_(False)
    found = effective_receptive_field(net, [torch.rand(1, 3, 17, 19) for _ in range(2)])
    rows, columns = found.strength.nonzero(as_tuple=True)
    assert (rows.min(), rows.max()) == (8 - layers, 8 + layers)
    assert (columns.min(), columns.max()) == (9 - layers, 9 + layers)
    assert found.side(1.0) == 2 * layers + 1
    assert found.strength.sum().item() == pytest.approx(1)


def test_shares_of_a_mean_filter_are_areas():
    """A mean over 9x9 pixels: a square of side s holds s^2 / 81 of the strength."""
    weight = torch.full((3, 1, 9, 9), 1 / 81)
    found = effective_receptive_field(lambda x: F.conv2d(x, weight, padding=4, groups=3), [torch.rand(1, 3, 15, 15)])
    assert [found.side(share) for share in (1 / 81, 9 / 81, 24.9 / 81, 25.1 / 81, 1)] == [1, 3, 5, 7, 9]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match='image'):
        effective_receptive_field(lambda x: x, [])
    with pytest.raises(ValueError, match='size'):
        effective_receptive_field(lambda x: x, [torch.rand(1, 3, 5, 5), torch.rand(1, 3, 6, 5)])
    with pytest.raises(ValueError, match='centre'):
        effective_receptive_field(lambda x: x * 0, [torch.rand(1, 3, 5, 5)])
    with pytest.raises(ValueError, match='share'):
        ReceptiveField(torch.ones(3, 3)).side(0)
