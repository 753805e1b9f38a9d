"""MambaIRv2: published sizes, batches, gradients, routing with and without noise, masks of windows."""

import pytest
import torch
from helpers import assert_close, picture

from sst.rivals import mambairv2_arch
from sst.rivals.mambairv2_arch import SIZES, MambaIRv2, MambaIRv2Light, StateSpace, WindowAttention
from sst.rivals.parts import relative_index, shift_mask

COUNTS = {
    'MambaIRv2-S': (9621935, 9806575, 9769647),
    'MambaIRv2-B': (22903001, 23087641, 23050713),
    'MambaIRv2-L': (34090523, 34275163, 34238235),
    'MambaIRv2-light': (774092, 780587, 789680),
}
TINY = {
    'embed_dim': 12,
    'depths': [2, 1],
    'num_heads': [2, 3],
    'window_size': 4,
    'd_state': 3,
    'inner_rank': 4,
    'num_tokens': 5,
    'upsampler': 'pixelshuffledirect',
}


def network(name):
    return MambaIRv2Light if name == 'MambaIRv2-light' else MambaIRv2


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('name', SIZES)
def test_published_counts(name, scale):
    with torch.device('meta'):
        net = network(name)(upscale=scale, **SIZES[name])
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name][scale - 2]


@pytest.mark.parametrize('name', ['MambaIRv2-B', 'MambaIRv2-light'])
def test_defaults_are_published_sizes(name):
    with torch.device('meta'):
        default, named = network(name)().state_dict(), network(name)(**SIZES[name]).state_dict()
    assert {key: value.shape for key, value in default.items()} == {key: value.shape for key, value in named.items()}


def test_published_noise(case, monkeypatch):
    golden = case('mambairv2_a')
    recorded = [golden.arrays[f'gumbel/{i}'] for i in range(5)]
    monkeypatch.setattr(mambairv2_arch, 'gumbel_noise', lambda logits: torch.from_numpy(recorded.pop(0)))
    net = MambaIRv2Light(**{k: v for k, v in golden.options.items() if k != 'type'}, noise=True).eval()
    net.load_state_dict(golden.net.state_dict())
    with torch.no_grad():
        assert_close(net(golden.input), torch.from_numpy(golden.arrays['output_noise']), 2e-6)
    assert not recorded


@pytest.mark.parametrize('noise', [False, True])
def test_only_noise_is_random_in_evaluation(noise):
    net, image = MambaIRv2(**TINY, noise=noise).eval(), picture(8, 12)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, StateSpace):
                module.embeddingB.weight.mul_(100)
        assert torch.equal(net(image), net(image)) == (not noise)


def test_noise_is_gumbel():
    noise = mambairv2_arch.gumbel_noise(torch.empty(1, 100, 1000))
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)
    assert noise.var() == pytest.approx(torch.pi**2 / 6, abs=0.05)


@pytest.mark.parametrize('kind', [MambaIRv2, MambaIRv2Light])
@pytest.mark.parametrize('size', [(2, 2), (4, 9), (11, 13)], ids=str)
def test_batch_equals_single_images(size, kind):
    net, images = kind(**TINY).eval(), picture(*size, batch=2)
    with torch.no_grad():
        together = net(images)
        assert_close(together, torch.cat([net(image[None]) for image in images]), 1e-5)
    assert together.shape == (2, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize('kind', [MambaIRv2, MambaIRv2Light])
def test_training_step_lowers_the_loss(kind):
    net, image, target = kind(**TINY).eval(), picture(8, 8), picture(16, 16)  # the same routes twice
    optimiser = torch.optim.SGD(net.parameters(), 1e-3)
    before = (net(image) - target).square().mean()
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    optimiser.step()
    assert (net(image) - target).square().mean() < before


def test_route_has_the_gradient_of_softmax():
    layer = StateSpace(6, 6, 3, 2, 4, noise=False).double().eval()
    x, prompts = torch.randn(1, 7, 6, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    classes, prompt = layer.routed(x, prompts)
    assert torch.equal(prompt, prompts[classes])
    weight = torch.randn_like(prompt)
    own = torch.autograd.grad((prompt * weight).sum(), [*layer.route.parameters(), prompts])
    soft = layer.route(x).softmax(-1) @ prompts.detach()
    expected = torch.autograd.grad((soft * weight).sum(), list(layer.route.parameters()))
    *own, of_prompts = own
    for actual, other in zip(own, expected, strict=True):
        assert_close(actual, other, 1e-12)
    assert_close(of_prompts, torch.zeros_like(prompts).index_add(0, classes[0], weight[0]), 1e-12)


def test_gradcheck_of_the_scan_with_fixed_classes():
    layer = StateSpace(3, 4, 2, 2, 3, noise=False).double().eval()
    layer.route.requires_grad_(False)
    embedding = torch.nn.Embedding(2, 2).double()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    weights = dict(layer.selectiveScan.named_parameters(prefix='selectiveScan'))

    def run(*values):
        return torch.func.functional_call(layer, dict(zip(weights, values, strict=True)), (x, embedding))

    assert torch.autograd.gradcheck(run, [w.detach().clone().requires_grad_() for w in weights.values()])


@pytest.mark.parametrize('window', [4, 5])
@pytest.mark.parametrize('grid', [(1, 1), (1, 3), (3, 1), (3, 2)], ids=str)
def test_four_masks_are_the_whole_maps(grid, window):
    layer = WindowAttention(6, window, 2, shifted=True)
    height, width = grid[0] * window, grid[1] * window
    qkv = torch.randn(2, height, width, 18)
    own = layer(qkv, relative_index(window), shift_mask(2 * window, 2 * window, window))

    shift = window // 2
    windows = mambairv2_arch.partition(qkv.roll((-shift, -shift), (1, 2)), window)
    q, k, v = windows.unflatten(-1, (3, 2, 3)).permute(2, 0, 3, 1, 4)
    bias = layer.relative_position_bias_table[relative_index(window)].permute(2, 0, 1)
    mask = shift_mask(height, width, window).repeat(2, 1, 1)[:, None]
    x = (q @ k.mT / 3**0.5 + bias + mask).softmax(-1) @ v
    x = mambairv2_arch.merge(layer.proj(x.transpose(1, 2).flatten(2)), window, height, width)
    assert_close(own, x.roll((shift, shift), (1, 2)), 1e-6)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_runs(dtype):
    net = MambaIRv2Light(**TINY).eval().to(dtype)
    with torch.no_grad():
        assert net(picture(8, 9).to(dtype)).isfinite().all()


@pytest.mark.parametrize('training', [False, True])
def test_meta(training):
    with torch.device('meta'):
        net = MambaIRv2(**TINY).train(training)
        assert net(torch.empty(1, 3, 20, 30)).shape == (1, 3, 40, 60)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'img_range': 255.0}, 'img_range is 255.0'),
        ({'num_heads': [5, 3]}, 'embed_dim is 12, it must be a multiple of num_heads, 5'),
        ({'num_heads': [2]}, 'depths has 2 groups and num_heads 1'),
        ({'mlp_ratio': 1.25}, r'mlp_ratio \* embed_dim is 15'),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        MambaIRv2Light(**TINY | changes)
