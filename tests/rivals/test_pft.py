"""PFT: published sizes, batches, gradients, sparse beside dense products, what passes from layer to layer."""

import pytest
import torch
from helpers import assert_close, picture
from torch.utils.flop_counter import FlopCounterMode

from sst.rivals import pft_arch
from sst.rivals.pft_arch import PFT, SIZES, Focus, FocusedAttention, Refocus

COUNTS = {'PFT': (19_623_527, 19_808_167, 19_771_239), 'PFT-light': (775_532, 782_567, 792_416)}
PUBLISHED_MULTIPLY_ADDS = {'PFT': (5.03e12, 2.25e12, 1.27e12), 'PFT-light': (278.0e9, 123.4e9, 69.5e9)}  # 1280x720
TINY = {
    'embed_dim': 12,
    'depths': [2, 4],
    'num_heads': 2,
    'num_topk': [16, 16, 5, 5, 1, 1],
    'window_size': 4,
    'convffn_kernel_size': 3,
    'mlp_ratio': 1.0,
    'upsampler': 'pixelshuffledirect',
}


def published(name, scale):
    with torch.device('meta'):
        return PFT(upscale=scale, **SIZES[name])


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('name', SIZES)
def test_published_counts(name, scale):
    assert sum(p.numel() for p in published(name, scale).parameters()) == COUNTS[name][scale - 2]


def test_defaults_are_the_published_size():
    with torch.device('meta'):
        default = PFT()
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (default, published('PFT', 2))]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('name', SIZES)
def test_multiply_adds_are_about_the_authors(name, scale, monkeypatch):
    """Counted at the kept keys only and without padding; the authors' formula leaves out part of the tail."""
    monkeypatch.setattr(pft_arch, 'FEW', 1)
    monkeypatch.setattr(pft_arch, 'CHUNK', 2**60)
    height, width = 720 // scale, 1280 / scale
    padded = [-(-int(side) // 32) * 32 for side in (height, width)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        published(name, scale)(torch.empty(1, 3, *padded, device='meta'))
    counted = counter.get_total_flops() / 2 * height * width / (padded[0] * padded[1])
    assert 1 < counted / PUBLISHED_MULTIPLY_ADDS[name][scale - 2] < 1.05


def test_batch_equals_single_images():
    net, images = PFT(**TINY).eval(), picture(6, 10, batch=2)
    with torch.no_grad():
        assert_close(net(images), torch.cat([net(image[None]) for image in images]), 2e-6)


@pytest.mark.parametrize('few', [1, 10**6], ids=['sparse', 'dense'])
@pytest.mark.parametrize('chunk', [1, 2 * 64**2, 10**6], ids=['head by head', 'a window at a time', 'all at once'])
def test_ways_of_computing_agree(case, monkeypatch, few, chunk):
    golden = case('pft_a')
    monkeypatch.setattr(pft_arch, 'FEW', few)
    monkeypatch.setattr(pft_arch, 'CPU_CHUNK', chunk)
    with torch.no_grad():
        assert_close(golden.net(golden.input), golden.output, 2e-6)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    net, image = PFT(**TINY | {'num_topk': [16] * 6}).eval(), picture(6, 10)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)
        assert PFT(**TINY).eval().to(dtype)(image.to(dtype)).isfinite().all()


def attention(keep, window=4):
    return FocusedAttention(6, 2, window, False, keep).double()


def test_states_shrink_with_the_kept_keys():
    q, k, v = torch.randn(3, 2, 2, 16, 3).double()
    focus = Focus(4, 8, 4, q.device)
    with torch.no_grad():
        for keep in (16, 5, 5, 2):
            attention(keep).attend(q, k, v, focus)
            ((kept, index),) = focus.states[False].values()
            assert kept.shape == (2, 2, 16, keep)
            assert (index is None) if keep == 16 else (index.dtype == torch.int16 and index.shape == kept.shape)
    assert not focus.states[True]


def test_chain_of_maps_is_the_softmax_of_summed_scores():
    q, k, v = torch.randn(3, 2, 2, 16, 3).double()
    focus, layers = Focus(4, 8, 4, q.device), [attention(16) for _ in range(3)]
    with torch.no_grad():
        results = [layer.attend(q, k, v, focus) for layer in layers]
        total = sum(q @ k.mT / 3**0.5 + layer.bias(focus.index) for layer in layers)
        assert_close(results[-1], total.softmax(dim=-1) @ v, 1e-12)


def test_refocus_gradients():
    scores, previous = torch.randn(3, 5).double(), torch.rand(3, 5).double().softmax(dim=-1)
    assert torch.autograd.gradcheck(Refocus.apply, (scores.requires_grad_(), previous.requires_grad_()))


def test_refocus_gradients_are_finite_where_a_map_vanished():
    scores, previous = torch.zeros(1, 2).requires_grad_(), torch.tensor([[1.0, 0.0]]).requires_grad_()
    Refocus.apply(scores, previous)[0, 0].backward()
    assert scores.grad.isfinite().all()
    assert previous.grad.isfinite().all()


@pytest.mark.parametrize('few', [1, 10**6], ids=['sparse', 'dense'])
def test_gradients_reach_earlier_layers(monkeypatch, few):
    monkeypatch.setattr(pft_arch, 'FEW', few)
    layers = [attention(keep, window=2) for keep in (3, 2, 2)]

    def run(*tensors):
        focus = Focus(2, 2, 2, tensors[0].device)
        return [layer.attend(*tensors[3 * i : 3 * i + 3], focus) for i, layer in enumerate(layers)][-1]

    tensors = [torch.randn(1, 2, 4, 3).double().requires_grad_() for _ in range(9)]
    assert torch.autograd.gradcheck(run, [*tensors[:2], tensors[2].detach(), *tensors[3:5], *tensors[5:]])
    run(*tensors).sum().backward()
    assert tensors[0].grad.norm() > 0  # the first layer's queries act through its map


def test_training_step_reaches_every_weight():
    net, image, target = PFT(**TINY), picture(8, 12, batch=2), picture(16, 24, batch=2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    before = (net(image) - target).square().mean()
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    optimizer.step()
    assert (net(image) - target).square().mean() < before


@pytest.mark.parametrize(
    'wrong',
    [
        {'embed_dim': 13},
        {'num_topk': [16] * 5},
        {'num_topk': [16, 16, 5, 5, 6, 1]},
        {'num_topk': [17, 16, 5, 5, 1, 1]},
        {'num_topk': [16, 16, 5, 5, 1, 0]},
        {'img_range': 255.0},
    ],
    ids=str,
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PFT(**TINY | wrong)


def test_all_keys_keeps_those_that_are_left():
    assert PFT(**TINY | {'num_topk': [16, 16, 5, 5, 16, 16]}).eval()(picture(4, 4)).isfinite().all()
