import pytest
import torch
from helpers import tiny_options
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sst.archs import SST
from sst.inference import Tiler, TileSize, memory, tiled, window_multiple
from sst.inference.spans import spans
from sst.utils.errors import UserError

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


def test_rows_come_from_top_to_bottom_as_they_are_finished():
    read, told = [], []
    net = nn.Upsample(scale_factor=2)
    lr = torch.rand(2, 3, 70, 40)

    def rows(top, bottom):
        read.append(top)
        return lr[..., top:bottom, :]

    tiler = Tiler(net, 2, tile=16, overlap=4)
    bands = tiler.rows(rows, 70, 40, lambda done, total: told.append((done, total)))
    first = next(bands)
    assert read == [0]
    rest = list(bands)
    assert torch.allclose(torch.cat([first, *rest], dim=-2), net(lr))
    assert told == [(number, 8) for number in range(1, 9)]
    assert all(band.shape[-2] <= 2 * (16 + 2 * 4) for band in [first, *rest])


def test_no_band_is_empty():
    lr = torch.rand(1, 3, 60, 50)
    tiler = Tiler(nn.Upsample(scale_factor=2), 2, tile=12, overlap=24)
    bands = list(tiler.rows(lambda top, bottom: lr[..., top:bottom, :], 60, 50))
    assert all(band.shape[-2] for band in bands)
    assert torch.allclose(torch.cat(bands, dim=-2), tiler.predict(lr))


def test_the_size_of_tiles_may_be_asked_for():
    tiler = Tiler(nn.Upsample(scale_factor=2), 2, tile=lambda height, width: 16 if height > 50 else None, overlap=0)
    assert [len(axis) for axis in tiler.cut(64, 32)] == [4, 2]
    assert [len(axis) for axis in tiler.cut(50, 999)] == [1, 1]


class Scarce(nn.Module):
    """A network that has memory for so many pixels, and fails as torch does."""

    def __init__(self, pixels, fault):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.PixelShuffle(2))
        self.pixels, self.fault, self.tried = pixels, fault, []

    def forward(self, x):
        self.tried.append(x.shape[-2] * x.shape[-1])
        if self.tried[-1] > self.pixels:
            raise self.fault
        return self.net(x)


FAULTS = [
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'),
    RuntimeError('MPS backend out of memory'),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 12 bytes"),
]


@pytest.mark.parametrize('fault', FAULTS, ids=['cuda', 'mps', 'cpu'])
@pytest.mark.parametrize('tile', [None, 64])
def test_where_memory_is_short_tiles_are_halved(fault, tile):
    torch.manual_seed(0)
    scarce, lr = Scarce(30 * 30, fault), torch.rand(1, 3, 130, 90)
    tiler = Tiler(scarce, 2, tile=tile, overlap=4)
    with torch.no_grad():
        expected = scarce.net(lr)
    for _ in range(2):
        rows = tiler.rows(lambda top, bottom: lr[..., top:bottom, :], 130, 90)
        assert torch.allclose(torch.cat(list(rows), dim=-2), expected, atol=1e-5)
    # What did not fit is not tried again.
    failed = [pixels for pixels in scarce.tried if pixels > scarce.pixels]
    assert failed == sorted(set(failed), reverse=True)


def test_no_memory_for_the_smallest_tile_is_one_line():
    scarce = Scarce(10, FAULTS[0])
    rows = Tiler(scarce, 2, overlap=8).rows(lambda top, bottom: torch.rand(1, 3, bottom - top, 50), 50, 50)
    with pytest.raises(UserError, match='^[^\n]*memory[^\n]*$'):
        next(rows)


def test_other_faults_are_not_taken_for_lack_of_memory():
    scarce = Scarce(10, RuntimeError('mat1 and mat2 shapes cannot be multiplied'))
    with pytest.raises(RuntimeError, match='cannot be multiplied'):
        next(Tiler(scarce, 2).rows(lambda top, bottom: torch.rand(1, 3, 50, 50), 50, 50))
    assert len(scarce.tried) == 1


@pytest.mark.parametrize('free', [10**8, 10**9, 10**10, 10**11])
def test_tiles_fit_free_memory(monkeypatch, free):
    monkeypatch.setattr(memory, 'free_memory', lambda device: free)
    net = SST(**tiny_options(num_blocks=1, window_sizes=[4, 6]))
    size = TileSize(net, overlap=32, multiple=12)
    assert size(100, 100) is None
    tile = size(60_000, 80_000)
    assert tile % 12 == 0
    assert 64 <= tile <= 2048
    assert tile == 72 or size.needed(tile + 64, tile + 64, 80_000) <= free / 2


@pytest.mark.parametrize('scale', [2, 4])
def test_maps_of_a_tile_are_counted_in_32_bits(monkeypatch, scale):
    """The upsampler of SST-L has 96 s^2 channels at the size of LR."""
    monkeypatch.setattr(memory, 'free_memory', lambda device: 1e14)
    monkeypatch.setattr(memory, 'MOST_ON_CPU', 1e14)
    upsampler = {'type': 'pixelshuffle', 'channels': 96}
    net = SST(**tiny_options(num_blocks=1, dim=192, num_heads=6, scale=scale, upsampler=upsampler))
    size = TileSize(net, overlap=32, multiple=12)
    side = size(60_000, 80_000) + 64
    assert 0.8 * 2**31 < side**2 * max(96 * scale**2, 3 * 192) < 2**31
    assert (size(1500, 1500) is None) == (scale == 2)
