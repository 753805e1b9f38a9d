from itertools import product

import pytest
import torch
from helpers import tiny_options

from benchmarking.costs import H200, count_multiply_adds, floor, multiply_adds
from benchmarking.published import PublishedSST
from sst.rivals.figures import published_figures
from standings.entries import Entry

UPSAMPLERS = [
    ({'type': 'pixelshuffle_direct'}, 2),
    ({'type': 'pixelshuffle', 'channels': 5}, 3),
    ({'type': 'nearest_conv', 'channels': 5}, 3),
    ({'type': 'nearest_conv', 'channels': 5}, 4),
]

# Milliseconds on an H200 at 1280 x 720: exponentials, attention's products, dense products, copies, floor. Worked out
# by hand before this code was written.
FLOORS = {
    ('SST', 2): (21, 24, 6.5, 14, 38),
    ('SST', 3): (9.5, 10.5, 3.0, 6.3, 17),
    ('SST', 4): (5.3, 5.9, 1.7, 3.6, 9.4),
    ('SST+', 2): (32, 37, 6.5, 14, 51),
    ('SST+', 3): (14, 16, 3.0, 6.3, 23),
    ('SST+', 4): (8.0, 9.2, 1.7, 3.6, 13),
    ('SST-L', 2): (28, 27, 12, 22, 50),
    ('SST-L', 3): (13, 12, 5.2, 9.6, 22),
    ('SST-L', 4): (7.1, 6.6, 3.0, 5.4, 12.5),
    ('SST-L+', 2): (43, 42, 12, 22, 64),
    ('SST-L+', 3): (19, 19, 5.2, 9.6, 28),
    ('SST-L+', 4): (11, 10.5, 3.0, 5.4, 16),
}


def network(model, scale):
    return Entry(model, scale).options()['network_g']


@pytest.mark.parametrize(('upsampler', 'scale'), UPSAMPLERS)
@pytest.mark.parametrize('size', [(12, 24), (7, 13)])
def test_formula_is_what_torch_counts(upsampler, scale, size):
    network = tiny_options(upsampler=upsampler, scale=scale)
    with torch.device('meta'):
        net = PublishedSST(network)
    assert multiply_adds(network, *size, published=True).total == count_multiply_adds(net, *size)


def test_padding_of_values_and_projection_is_all_that_the_paper_counts_more():
    ours, paper = (multiply_adds(tiny_options(), 12, 12, published=way) for way in (False, True))
    assert (paper.dense, paper.tables) == (ours.dense, ours.tables)  # 12 is a multiple of both windows
    layers = 2 * [(4, 2), (6, 4)]  # window and rank
    assert paper.attention - ours.attention == sum(2 * 144 * w**2 * rank for w, rank in layers)


# whose multiply-adds the paper lists
COUNTED = [*product(('SST-light', 'SST-light+'), (2, 3, 4)), ('SST-L', 2), ('SST-L+', 2)]


@pytest.mark.parametrize(('model', 'scale'), COUNTED)
def test_multiply_adds_are_those_of_the_paper(model, scale):
    height, width = -(-720 // scale), -(-1280 // scale)
    counted = multiply_adds(network(model, scale), height, width, published=True)
    assert counted.total / 1e9 == pytest.approx(published_figures(model, scale)['multiply_adds'] / 1e9, rel=0.004)


@pytest.mark.parametrize(('model', 'scale'), FLOORS)
def test_floor(model, scale):
    time = floor(network(model, scale), 1280 * 720 // scale**2, H200)
    for name, expected in zip(('exp', 'attention', 'dense', 'copy', 'total'), FLOORS[model, scale], strict=True):
        digit = 1 if isinstance(expected, int) else 0.1
        assert 1000 * getattr(time, name) == pytest.approx(expected, abs=0.6 * digit), name
