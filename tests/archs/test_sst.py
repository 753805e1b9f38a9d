import copy

import pytest
import torch
from basicsr.archs import build_network
from helpers import assert_close, picture, tiny_options
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.archs import SST

MODELS = {
    'light': {'dim': 48, 'num_blocks': 5, 'ranks': [16, 16, 16, 24, 24, 24], 'num_heads': 3, 'ffn_expansion': 1.5},
    'SST': {
        'dim': 180,
        'num_blocks': 6,
        'ranks': [18, 18, 18, 34, 34, 34],
        'num_heads': 6,
        'ffn_expansion': 1.25,
        'm': 64,
    },
    'SST_L': {
        'dim': 192,
        'num_blocks': 8,
        'ranks': [16, 16, 16, 32, 32, 32],
        'num_heads': 6,
        'ffn_expansion': 2,
        'm': 96,
    },
    'SST_XL': {
        'dim': 224,
        'num_blocks': 10,
        'ranks': [16, 16, 16, 32, 32, 32],
        'num_heads': 7,
        'ffn_expansion': 2,
        'm': 96,
    },
}
COUNTS = {
    'light': (893_340, 899_835, 908_928),
    'SST': (11_676_707, 11_861_347, 12_119_843),
    'SST_L': (20_314_947, 20_730_147, 21_311_427),
    'SST_XL': (33_892_195, 34_307_395, 34_888_675),
}
BIASES = {
    'RIB': {'type': 'RIB', 'ranks': [2, 4], 'hidden': 8, 'bands': 4},
    'SIREN': {'type': 'SIREN', 'ranks': 2, 'hidden': 8},
    'FlashBias': {'type': 'FlashBias', 'ranks': 2},
    'RPB': {'type': 'RPB'},
    'RoPE': {'type': 'RoPE'},
    'CPE': {'type': 'CPE'},
    'none': {'type': 'none'},
}
UPSAMPLERS = [
    {'type': 'pixelshuffle_direct'},
    {'type': 'pixelshuffle', 'channels': 8},
    {'type': 'nearest_conv', 'channels': 8},
]


@pytest.mark.parametrize('windows', [[16, 32, 64, 16, 32, 64], [16, 32, 48, 32, 48, 96]], ids=['plain', 'plus'])
@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('model', MODELS)
def test_published_parameter_counts(model, scale, windows):
    options = dict(MODELS[model])
    ranks, channels = options.pop('ranks'), options.pop('m', None)
    upsampler = {'type': 'pixelshuffle', 'channels': channels} if channels else {'type': 'pixelshuffle_direct'}
    bias = {'type': 'RIB', 'ranks': ranks, 'hidden': 32, 'bands': 10}
    with torch.device('meta'):
        net = SST(**options, scale=scale, window_sizes=windows, bias=bias, upsampler=upsampler)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[model][scale - 2]


@settings(max_examples=15)
@given(st.integers(1, 21), st.integers(1, 21), st.sampled_from([2, 3, 4]), st.sampled_from(range(3)))
def test_any_size_any_scale_any_upsampler(height, width, scale, upsampler):
    net = SST(**tiny_options(scale=scale, upsampler=UPSAMPLERS[upsampler])).eval()
    with torch.no_grad():
        assert net(picture(height, width)).shape == (1, 3, scale * height, scale * width)


@pytest.mark.parametrize('gate', ['CLA', 'pointwise', 'none'])
@pytest.mark.parametrize('bias', BIASES)
def test_every_bias_and_gate_trains(bias, gate):
    net = SST(**tiny_options(bias=BIASES[bias], gate=gate))
    out = net(picture(9, 7))
    out.square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a key's bias moves all logits of a query alike, so only rounding reaches it; everything else must learn
    assert not idle


@pytest.mark.parametrize('bias', BIASES)
def test_backends_agree_through_the_network(bias):
    options = tiny_options(bias=BIASES[bias])
    net, reference = SST(**options), SST(**options, backend='reference')
    reference.load_state_dict(net.state_dict())
    image = picture(9, 7)
    net(image).mean().backward()
    reference(image).mean().backward()
    assert_close(net(image), reference(image), 2e-6)
    for (name, p), q in zip(net.named_parameters(), reference.parameters(), strict=True):
        assert_close(p.grad, q.grad, 1e-3 if 'qkv' in name else 5e-5, name)


def test_equal_windows_shift_in_every_second_layer():
    shifts = [
        layer.attn.shift for layer in SST(**tiny_options(window_sizes=[6] * 3, bias={'type': 'none'})).blocks[0].layers
    ]
    assert shifts == [0, 3, 0]
    assert not any(layer.attn.shift for layer in SST(**tiny_options()).blocks[0].layers)


def test_zero_weights_leave_the_enlarged_input():
    net = SST(**tiny_options(scale=3, upsampler=UPSAMPLERS[1]))
    for p in net.parameters():
        torch.nn.init.zeros_(p)
    image = picture(5, 4)
    assert torch.equal(net(image), torch.nn.functional.interpolate(image, scale_factor=3, mode='nearest'))


def test_a_batch_equals_its_pictures_one_by_one():
    net, images = SST(**tiny_options()).eval(), picture(7, 9, batch=3)
    with torch.no_grad():
        assert_close(net(images), torch.cat([net(image[None]) for image in images]), 1e-6)


def test_initialisation():
    net = SST(dim=48, num_blocks=2)
    attention = net.blocks[0].layers[0].attn
    assert attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    for weight in (attention.bias.hidden_weight, attention.bias.query_weight, attention.bias.key_weight):
        assert weight.std().item() == pytest.approx(0.05, rel=0.15)
    assert all((p == 0).all() for name, p in net.named_parameters() if name.endswith(('.bias', '_bias')))


def test_registered_and_driven_by_options():
    net = build_network({'type': 'SST', **tiny_options(backend='reference', attention_dtype='float32')})
    assert net.blocks[0].layers[0].attn.backend == 'reference'
    assert net.blocks[0].layers[0].attn.dtype == torch.float32


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'num_heads': 5}, 'num_heads.*5.*12'),
        ({'window_sizes': [4, 6, 8]}, 'ranks'),
        ({'windows': [4, 6]}, 'windows.*window_sizes'),
        ({'gate': 'CIA'}, 'gate'),
    ],
    ids=['heads', 'lengths', 'misspelt', 'value'],
)
def test_impossible_options_are_refused_in_words(change, words):
    with pytest.raises(Exception, match=words):
        SST(**tiny_options(**change))


# ---- tables cached outside training


@pytest.fixture
def net():
    return SST(**tiny_options()).eval()


def tables(net):
    return net.blocks[0].layers[0].attn.bias.tables()[0].q


@torch.no_grad()
def test_tables_are_kept_outside_training(net):
    assert tables(net) is tables(net)


@torch.no_grad()
def test_tables_follow_weights_changed_in_place_loaded_or_replaced(net):
    weight = net.blocks[0].layers[0].attn.bias.query_weight
    for change in (
        lambda: weight.mul_(2),
        lambda: net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()}),
        lambda: setattr(weight, 'data', weight.data.clone() * 3),
    ):
        before = tables(net).clone()
        change()
        assert not torch.equal(tables(net), before)


def test_tables_follow_an_optimiser_that_steps_in_evaluation_mode(net):
    with torch.no_grad():
        before = tables(net).clone()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)  # counts no versions
    net(picture(6, 6)).mean().backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.equal(tables(net), before)


@torch.no_grad()
def test_tables_follow_weights_replaced_many_times(net):
    weight = net.blocks[0].layers[0].attn.bias.query_weight
    for _ in range(50):  # a freed weight's address may be given to the next
        before = tables(net).clone()
        weight.data = weight.data * 1.5
        assert_close(tables(net), 1.5 * before, 1e-5)


def test_compiles_as_one_graph(net):
    compiled = torch.compile(net, fullgraph=True, backend='eager')
    with torch.no_grad():
        image = picture(7, 9)
        assert_close(compiled(image), net(image), 1e-6)


@torch.no_grad()
def test_tables_follow_changes_behind_autograds_back_after_a_change_of_mode(net):
    before = tables(net).clone()
    net.blocks[0].layers[0].attn.bias.query_weight.data.mul_(2)  # as BasicSR's moving average does; counts no version
    net.eval()
    assert_close(tables(net), 2 * before, 1e-6)


@torch.no_grad()
def test_tables_follow_the_dtype(net):
    before = tables(net).clone()
    net.blocks[0].layers[0].attn.bias.half().float()
    assert not torch.equal(tables(net), before)
    assert_close(tables(net), before, 2e-3)


def test_tables_carry_gradients_in_training_and_after(net):
    with torch.no_grad():
        tables(net)
    assert tables(net).requires_grad
    assert tables(net.train()).requires_grad


def test_a_copy_has_tables_of_its_own(net):
    with torch.no_grad():
        tables(net)
        twin = copy.deepcopy(net)
        twin.blocks[0].layers[0].attn.bias.query_weight.mul_(2)
        assert_close(tables(twin), 2 * tables(net), 1e-6)


def test_inference_mode(net):
    image = picture(6, 6)
    with torch.inference_mode():
        first = net(image)
    with torch.no_grad():
        assert torch.equal(net(image), first)
