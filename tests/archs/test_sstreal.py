import math
import re

import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from helpers import assert_close, picture, tiny_real_options
from hypothesis import given, settings
from hypothesis import strategies as st
from real_networks import golden_case, golden_network, lively
from torch import nn

from sst.archs import SSTReal
from sst.archs.sstreal_arch import NoiseEmbedding
from sst.archs.sstreal_start import NoiseRows, draw_noise
from sst.options import OptionsError


def noisy(height, width, batch=1):
    """An enlarged image with noise, and the LR image, in [-1, 1] terms."""
    lq = 2 * picture(height, width, batch) - 1
    return nn.functional.interpolate(lq, scale_factor=4) + torch.randn(batch, 3, 4 * height, 4 * width), lq


# ---- the released network


@pytest.mark.parametrize('backend', ['reference', 'auto'])
def test_golden_case(backend):
    net, (_, _, arrays) = golden_network(backend=backend), golden_case()
    x, sigma, lq = (arrays[key] for key in ('input', 'sigma', 'lq'))
    with torch.no_grad():
        assert_close(net(x, sigma, lq), arrays['output'], 2e-6)
        assert_close(net(x, float(sigma), lq, guidance=0), arrays['output_i'], 2e-6)
        assert_close(net(x, float(sigma), lq, guidance=1), arrays['output_f'], 2e-6)


def test_training_mode_gives_both_outputs():
    net, (_, _, arrays) = golden_network(dropout=0.0).train(), golden_case()
    middle, last = net(arrays['input'], arrays['sigma'], arrays['lq'])
    assert_close(middle, arrays['output_i'], 2e-6)
    assert_close(last, arrays['output_f'], 2e-6)


def test_a_whole_picture_as_released():
    _, _, arrays = golden_case()
    noise, multiple = arrays['picture_noise'], int(arrays['picture_min_size'])
    sr = golden_network().enlarge(arrays['picture'], noise=noise, multiple=multiple)
    assert_close(sr, ((arrays['picture_raw'] + 1) / 2).clamp(0, 1), 2e-6)


def test_released_counts():
    with torch.device('meta'):
        net = SSTReal()
    assert (sum(p.numel() for p in net.parameters()), len(net.state_dict())) == (54_986_502, 1620)
    counts = [sum(p.numel() for p in block.parameters()) for block in net.blocks]
    assert counts == 7 * [3_857_664] + 7 * [3_783_744]
    assert sum(p.numel() for p in net.last_upsampler.parameters()) == 334_659


# ---- the function


@torch.no_grad()
def test_without_noise_the_input_comes_back_exactly():
    x, lq = noisy(5, 6)
    assert torch.equal(lively().eval()(x, 0, lq), x)


@torch.no_grad()
def test_a_sigma_for_each_picture():
    net, (x, lq) = lively().eval(), noisy(6, 5, 3)
    sigmas = torch.tensor([0.0, 0.3, 1.0])
    singles = [net(x[i : i + 1], float(sigmas[i]), lq[i : i + 1]) for i in range(3)]
    assert_close(net(x, sigmas, lq), torch.cat(singles), 1e-6)
    assert not torch.allclose(singles[2], net(x[2:], 0.3, lq[2:]), atol=1e-3)


@torch.no_grad()
def test_guidance_goes_from_the_middle_output_through_the_last():
    net, (x, lq) = lively(guidance=1.5).eval(), noisy(4, 4)
    middle, last = (net(x, 1, lq, guidance=factor) for factor in (0, 1))
    assert_close(net(x, 1, lq, guidance=3), middle + 3 * (last - middle), 1e-5)
    assert_close(net(x, 1, lq), middle + 1.5 * (last - middle), 1e-5)


@settings(max_examples=15)
@given(st.integers(1, 19), st.integers(1, 19))
def test_any_size(height, width):
    x, lq = noisy(height, width)
    with torch.no_grad():
        result = lively().eval()(x, 1.0, lq)
    assert result.shape == x.shape
    assert result.isfinite().all()


def test_gradients_reach_all_parameters():
    net, (x, lq) = lively(dropout=0.1), noisy(9, 7, 2)
    sum(output.square().mean() for output in net(x, torch.tensor([0.5, 1.0]), lq)).backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_recomputed_activations_change_no_gradient():
    x, lq = noisy(6, 5)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = lively()
        if recompute:
            net.recompute_activations()
        sum(output.square().mean() for output in net(x, 1.0, lq)).backward()
        gradients.append([p.grad for p in net.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert_close(b, a, 1e-5, floor=1e-8)


def test_dropout_acts_in_training_alone():
    net, (x, lq) = lively(dropout=0.5), noisy(4, 4)
    with torch.no_grad():
        assert not torch.equal(net(x, 1, lq)[1], net(x, 1, lq)[1])
        net.eval()
        assert torch.equal(net(x, 1, lq), net(x, 1, lq))


def test_initialisation():
    net = SSTReal(**tiny_real_options(dim=64, num_heads=4))
    for block in net.blocks:
        assert (block.gamma == 1e-3).all()
        assert not block.modulation.weight.any()
        assert not block.modulation.bias.any()
    attention = net.blocks[0].layers[0].attn
    assert attention.bias.query_weight.std().item() == pytest.approx(0.05, rel=0.3)
    bound = 64**-0.5  # torch's own: uniform, also for biases
    assert attention.qkv.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    assert attention.qkv.bias.abs().max().item() == pytest.approx(bound, rel=0.1)


@pytest.mark.parametrize('lr_blocks', [0, 3])
@torch.no_grad()
def test_the_lr_image_is_read_in_blocks_that_take_it(lr_blocks):
    net, (x, lq) = lively(lr_blocks=lr_blocks).eval(), noisy(4, 5)
    assert torch.equal(net(x, 0.7, lq), net(x, 0.7, -lq)) == (lr_blocks == 0)


@pytest.mark.parametrize('sigma_data', [0.5, 0.8])
@pytest.mark.parametrize(('skip', 'unit'), [(True, 0.1), (False, 0.001)])
@torch.no_grad()
def test_how_much_of_the_input_is_kept(skip, unit, sigma_data):
    net, (x, lq) = lively(skip=skip, sigma_data=sigma_data).eval(), noisy(4, 5)
    for s in (0.4, 2):  # sigma in units
        middle, last = net.raw(x, torch.tensor([math.log(s * unit + 0.002) / 4]), lq)
        root = math.hypot(s, sigma_data)
        expected = [(sigma_data / root) ** 2 * x + s / root * output for output in (middle, last)]
        for found, right in zip(net.denoised(x, s * unit, lq), expected, strict=True):
            assert_close(found, right, 1e-5)


@pytest.mark.parametrize(
    ('channels', 'frequencies'), [(4, [1, 0.01]), (5, [1, 0.01]), (6, [1, 10 ** (-4 / 3), 10 ** (-8 / 3)])]
)
def test_the_noise_number_becomes_waves(channels, frequencies):
    embedding, found = NoiseEmbedding(channels, 3), []
    embedding.first.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    numbers = torch.tensor([0.3, -1.5])
    embedding(numbers)
    phase = numbers[:, None] * torch.tensor(frequencies)
    expected = torch.cat((phase.cos(), phase.sin(), torch.zeros(2, channels % 2)), dim=1)
    assert_close(found[0], expected, 1e-6)


def test_layers_compile_as_one_graph():
    net, (x, lq) = lively().eval(), noisy(5, 6)
    with torch.no_grad():
        expected = net(x, 1.0, lq)
        assert_close(torch.compile(net, fullgraph=True, backend='eager')(x, 1.0, lq), expected, 1e-6)


@pytest.mark.parametrize(('dtype', 'most'), [(None, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
@torch.no_grad()
def test_prepared_for_inference(dtype, most):
    net, (_, _, arrays) = golden_network(), golden_case()
    bias = net.blocks[0].layers[0].attn.bias
    before = bias.term()
    result = net.optimize_for_inference(dtype)(arrays['input'], arrays['sigma'], arrays['lq'])
    assert_close(result, arrays['output'], most)
    assert result.dtype == torch.float32
    assert net.lr_stem.weight.dtype == (dtype or torch.float32)
    assert torch.equal(bias.term().q, before.q)


# ---- a whole picture


@torch.no_grad()
def test_the_same_seed_gives_the_same_picture_in_any_company():
    net, images = lively().eval(), picture(7, 9, 2)
    both = net.enlarge(images, seed=3)
    assert torch.equal(net.enlarge(images, seed=3), both)
    assert_close(net.enlarge(images[1:], seed=3), both[1:], 1e-6)
    assert not torch.equal(net.enlarge(images, seed=4), both)


@settings(max_examples=10)
@given(st.integers(1, 70), st.integers(1, 70))
def test_pictures_of_any_size(height, width):
    sr = lively(num_blocks=2, middle_block=0).eval().enlarge(picture(height, width))
    assert sr.shape == (1, 3, 4 * height, 4 * width)
    assert 0 <= sr.min() <= sr.max() <= 1


@pytest.mark.parametrize('rows', [(0, 192), (0, 64), (64, 192), (10, 70), (127, 129)])
def test_noise_in_rows_is_the_noise_of_the_whole(rows):
    top, bottom = rows
    whole = draw_noise(192, 64, seed=5)
    assert torch.equal(NoiseRows(192, 64, seed=5).rows(top, bottom), whole[:, :, 4 * top : 4 * bottom])
    assert whole.std().item() == pytest.approx(1, abs=0.01)


# ---- refusals


@pytest.mark.parametrize(
    ('x', 'sigma', 'lq', 'guidance', 'words'),
    [
        ((1, 3, 16, 20), 1.0, (1, 3, 4, 4), None, 'x must be .*16, 16'),
        ((1, 3, 16, 16), 1.0, (2, 3, 4, 4), None, 'x must be'),
        ((1, 1, 16, 16), 1.0, (1, 1, 4, 4), None, 'lq must be'),
        ((3, 16, 16), 1.0, (3, 4, 4), None, 'lq must be'),
        ((1, 3, 16, 16), -0.1, (1, 3, 4, 4), None, 'sigma'),
        ((1, 3, 16, 16), float('nan'), (1, 3, 4, 4), None, 'sigma'),
        ((1, 3, 16, 16), torch.ones(2), (1, 3, 4, 4), None, 'sigma'),
        ((1, 3, 16, 16), [1.0], (1, 3, 4, 4), None, r'sigma.*\[1\.0\]'),
        ((1, 3, 16, 16), None, (1, 3, 4, 4), None, 'sigma.*None'),
        ((1, 3, 16, 16), True, (1, 3, 4, 4), None, 'sigma.*True'),
        ((1, 3, 16, 16), 1.0, (1, 3, 4, 4), -1, 'guidance'),
        ((1, 3, 16, 16), 1.0, (1, 3, 4, 4), 10.5, 'guidance'),
        ((1, 3, 16, 16), 1.0, (1, 3, 4, 4), True, 'guidance'),
        ((1, 3, 16, 16), 1.0, (1, 3, 4, 4), '2', 'guidance'),
    ],
)
def test_wrong_inputs_are_refused_in_words(x, sigma, lq, guidance, words):
    with pytest.raises(ValueError, match=words):
        lively().eval()(torch.zeros(x), sigma, torch.zeros(lq), guidance)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'seed': -1}, 'seed'),
        ({'seed': 1.0}, 'seed'),
        ({'seed': True}, 'seed'),
        ({'guidance': 11}, 'guidance'),
        ({'multiple': 0}, 'multiple.*0'),
        ({'multiple': -8}, 'multiple.*-8'),
        ({'multiple': 8.0}, 'multiple.*8.0'),
        ({'multiple': True}, 'multiple.*True'),
    ],
    ids=str,
)
def test_wrong_ways_to_enlarge_are_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        lively().eval().enlarge(picture(5, 9), **changes)


@pytest.mark.parametrize('shape', [(1, 3, 1, 1), (1, 3, 20, 36), (3, 32, 64), (3, 3, 32, 64), (2, 1, 32, 64)], ids=str)
def test_noise_of_another_shape_is_refused_in_words(shape):
    net, words = lively().eval(), rf'noise must be \(2, 3, 32, 64\).*not {re.escape(str(shape))}'
    with pytest.raises(ValueError, match=words):
        net.enlarge(picture(5, 9, 2), noise=torch.zeros(shape), multiple=8)


def test_wrong_images_and_modes_to_enlarge_are_refused_in_words():
    with pytest.raises(ValueError, match='lr'):
        lively().eval().enlarge(picture(4, 4)[0])
    with pytest.raises(ValueError, match='eval'):
        lively().enlarge(picture(4, 4))


def test_numbers_of_numpy_are_numbers():
    net, lr = lively().eval(), picture(5, 6)
    plain = net.enlarge(lr, guidance=1.5, seed=3, multiple=8)
    assert torch.equal(net.enlarge(lr, guidance=np.float32(1.5), seed=np.int64(3), multiple=np.int32(8)), plain)
    x, lq = noisy(4, 4)
    with torch.no_grad():
        assert torch.equal(net(x, np.float32(0.5), lq), net(x, 0.5, lq))


def test_each_picture_may_have_noise_of_its_own():
    net, lr, noise = lively().eval(), picture(5, 6, 2), torch.randn(2, 3, 32, 32)
    both = net.enlarge(lr, noise=noise, multiple=8)
    for place in range(2):
        one = slice(place, place + 1)
        assert_close(net.enlarge(lr[one], noise=noise[one], multiple=8), both[one], 1e-6)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'middle_block': 3}, 'middle_block.*3'),
        ({'lr_blocks': 4}, 'lr_blocks'),
        ({'guidance': -0.5}, 'guidance'),
        ({'scale': 2}, 'scale'),
        ({'num_heads': 3}, 'num_heads'),
        ({'ffn_expansion': 0.1}, 'ffn_expansion'),
        ({'upsampler': {'type': 'pixelshuffle_direct'}}, 'upsampler'),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(changes, words):
    with pytest.raises(OptionsError, match=words):
        build_network({'type': 'SSTReal', **tiny_real_options(**changes)})


def test_cuda_graphs_are_refused():
    with pytest.raises(ValueError, match='graphs'):
        lively().optimize_for_inference(graphs=100)


def test_small_blocks_count_under_autocast():
    """At the start of a training gamma is 1e-3, so what a block adds is below the precision of bfloat16."""
    torch.manual_seed(0)
    net = SSTReal(**tiny_real_options(num_blocks=4, lr_blocks=2))
    x, lq = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 16, 16)

    found = {}
    net.blocks[0].register_forward_pre_hook(lambda _, inputs: found.update(shallow=inputs[0].float()))
    net.last_upsampler.register_forward_pre_hook(lambda _, inputs: found.update(last=inputs[0].float()))

    def added():
        net.raw(x, torch.zeros(1), lq)
        return found['last'] - 2 * found['shallow']

    with torch.no_grad():
        exact = added()
        with torch.autocast('cpu', torch.bfloat16):
            mixed = added()
    assert (mixed - exact).norm() < 0.03 * exact.norm()
