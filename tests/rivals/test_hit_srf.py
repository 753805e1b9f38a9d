"""HiT-SRF: published sizes, batches, image sizes, gradients, the correlation beside its equation."""

import pytest
import torch
from helpers import assert_close, picture
from torch.utils.flop_counter import FlopCounterMode

from sst.ops.windows import merge, pad_to_multiple, partition
from sst.rivals.hit_srf_arch import SIZES, Correlation, HiT_SRF

COUNTS = {2: 846_944, 3: 855_059, 4: 866_420}
PAPER_MULTIPLY_ADDS = {2: 226.5e9, 3: 101.6e9, 4: 58.0e9}  # for 1280x720
TINY = {'embed_dim': 12, 'depths': [3, 1], 'num_heads': [2, 3], 'base_win_size': [4, 4], 'hier_win_ratios': [0.5, 1, 3]}


def published(scale):
    with torch.device('meta'):
        return HiT_SRF(upscale=scale, **SIZES['HiT-SRF'])


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert sum(p.numel() for p in published(scale).parameters()) == COUNTS[scale]


def test_defaults_are_the_published_size():
    with torch.device('meta'):
        default = HiT_SRF()
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (default, published(2))]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('scale', PAPER_MULTIPLY_ADDS)
def test_multiply_adds_stay_just_below_the_papers(scale):
    """torch counts products only, and the reordered products take fewer: 97.3 % of the paper's figure."""
    image = torch.empty(1, 3, 720 // scale, -(-1280 // scale), device='meta')
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        published(scale)(image)
    assert 0.97 < counter.get_total_flops() / 2 / PAPER_MULTIPLY_ADDS[scale] < 0.98


def test_batch_equals_single_images():
    net, images = HiT_SRF(**TINY).eval(), picture(9, 14, batch=2)
    with torch.no_grad():
        assert_close(net(images), torch.cat([net(image[None]) for image in images]), 1e-6)


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (2, 7), (13, 24)])
def test_any_image_size(height, width):
    with torch.no_grad():
        result = HiT_SRF(**TINY, upscale=3).eval()(picture(height, width))
    assert result.shape == (1, 3, 3 * height, 3 * width)
    assert result.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    net, image = HiT_SRF(**TINY).eval(), picture(9, 14)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


def by_its_equation(layer, x):
    """Correlation with every map and the bias of every pair of pixels built."""
    w, rho, heads = layer.window, layer.cell, layer.heads
    padded = layer.qv(pad_to_multiple(x, w))
    q, v = partition(padded, w).chunk(2, dim=-1)
    cell = (torch.arange(w)[:, None] // rho * (w // rho) + torch.arange(w) // rho).flatten()
    pixels = [torch.nonzero(cell == i).flatten() for i in range((w // rho) ** 2)]  # of each cell, row by row
    weight = layer.spatial_linear.weight[0]
    cells = torch.stack([weight @ v[:, p] + layer.spatial_linear.bias for p in pixels], dim=1)
    full = layer.pos.bias(w, w)
    bias = torch.stack([full[..., p].mean(dim=-1) for p in pixels], dim=-1)
    d = q.shape[-1] // heads
    spatial = [
        (q[..., i : i + d] @ cells[..., i : i + d].mT / d + bias[i // d]) @ cells[..., i : i + d]
        for i in range(0, heads * d, d)
    ]
    channel = (q.mT @ v / w**2 @ v.mT).mT
    y = layer.proj(torch.cat([*spatial, channel], dim=-1))
    return merge(y, w, *padded.shape[1:3])[:, : x.shape[1], : x.shape[2]]


@pytest.mark.parametrize(('window', 'base'), [(2, 4), (4, 4), (6, 2), (12, 4)])
def test_correlation_is_its_equation(window, base):
    layer, x = Correlation(24, 3, window, base).double(), torch.randn(2, 9, 14, 24).double()
    with torch.no_grad():
        assert_close(layer(x), by_its_equation(layer, x), 1e-12)


def test_correlation_gradients():
    layer = Correlation(12, 2, 4, 2).double()
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), x)

    x = torch.randn(1, 3, 5, 12).double().requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


def test_training_step_reaches_every_weight():
    net, image, target = HiT_SRF(**TINY), picture(8, 12, batch=2), picture(16, 24, batch=2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    before = (net(image) - target).square().mean()
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    optimizer.step()
    assert (net(image) - target).square().mean() < before


@pytest.mark.parametrize(
    'wrong',
    [
        {'embed_dim': 10},
        {'num_heads': [2]},
        {'depths': [4, 1]},
        {'base_win_size': [4, 8]},
        {'hier_win_ratios': [0.1, 1, 2]},
        {'hier_win_ratios': [1, 1.5, 2]},
        {'img_range': 255.0},
    ],
    ids=str,
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HiT_SRF(**TINY | wrong)
