import pytest
import torch
from helpers import tiny_options
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sst.archs import SST
from sst.inference import tiled, window_multiple
from sst.inference.tiles import spans

LENGTHS = {'size': st.integers(1, 300), 'tile': st.integers(1, 80), 'overlap': st.integers(0, 30)}


@given(**LENGTHS, multiple=st.sampled_from([1, 4, 12]), scale=st.integers(1, 4))
def test_the_shares_of_all_tiles_are_one(size, tile, overlap, multiple, scale):
    total = torch.zeros(scale * size)
    for span in spans(size, tile, overlap, multiple):
        assert span.start % multiple == 0
        assert 0 <= span.start <= span.first < span.last <= span.stop <= size
        total[scale * span.start : scale * span.stop] += span.weights(size, scale)
    assert torch.allclose(total, torch.ones(scale * size), atol=1e-5)


@pytest.mark.parametrize('shape', [(23, 41), (8, 60), (40, 8), (5, 5)])
def test_exact_where_the_network_looks_no_further_than_half_the_overlap(shape):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)).double()
    lr = torch.rand(1, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        whole = net(lr)
    assert tiled(net, lr, scale=2, tile=8, overlap=6) == pytest.approx(whole.numpy(), abs=1e-6)


def test_windows_lie_as_in_the_whole_picture():
    torch.manual_seed(0)
    net = SST(**tiny_options(num_blocks=1, window_sizes=[4, 6])).eval()
    assert window_multiple(net) == 12
    lr = torch.rand(1, 3, 50, 45)
    with torch.no_grad():
        whole = net(lr)
    difference = (tiled(net, lr, scale=2, tile=24, overlap=12, multiple=12) - whole).abs()
    shifted = (tiled(net, lr, scale=2, tile=23, overlap=12) - whole).abs()
    assert difference.max() < 1 / 255
    assert difference.mean() < shifted.mean() / 3


def test_a_picture_of_one_tile_is_given_whole():
    seen = []
    tiled(lambda x: seen.append(x.shape) or x, torch.rand(1, 3, 30, 20), scale=1, tile=24, overlap=8)
    assert seen == [(1, 3, 30, 20)]


def test_tiles_are_no_larger_than_asked():
    sizes = []
    tiled(lambda x: sizes.append(x.shape[-2:]) or x, torch.rand(1, 3, 200, 130), scale=1, tile=32, overlap=8)
    assert max(side for size in sizes for side in size) <= 32 + 3 * 8
