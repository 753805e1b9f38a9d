"""Tiles as in the published tests of MambaIR, MambaIRv2 and ART."""

import pytest
import torch
from torch import nn

from sst.inference.grid import grid_tiled


@pytest.mark.parametrize('shape', [(20, 20), (23, 40), (50, 33), (3, 31)])
def test_a_network_that_looks_no_further_than_a_tenth_is_exact(shape):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    seen = []
    lr = torch.rand(1, 3, *shape)
    with torch.no_grad():
        found = grid_tiled(lambda x: seen.append(x.shape[-2:]) or net(x), lr, scale=2, size=20)
        whole = net(
            nn.functional.pad(lr, (0, -shape[1] % (shape[1] // 20 + 1), 0, -shape[0] % (shape[0] // 20 + 1)), 'reflect')
        )
    assert torch.allclose(found, whole[..., : 2 * shape[0], : 2 * shape[1]], atol=1e-6)
    assert len(seen) == (shape[0] // 20 + 1) * (shape[1] // 20 + 1)


def test_tiles_read_a_tenth_of_their_neighbours():
    seen = []
    grid_tiled(lambda x: seen.append(tuple(x.shape[-2:])) or x, torch.rand(1, 3, 300, 450), scale=1, size=200)
    assert seen == [(165, 165), (165, 180), (165, 165)] * 2
