import pytest
import torch
from basicsr.archs import build_network
from helpers import assert_close
from released import escrib_names, golden, released_names

from sst.interop.official import convert_state_dict, is_released, network_options, released_type
from sst.options.registries import NETWORKS


@pytest.mark.parametrize('mode', ['train', 'eval'])
@pytest.mark.parametrize('backend', ['reference', 'auto'])
@pytest.mark.parametrize('case', ['light_x2', 'base_x3', 'escrib_x2'])
def test_golden_cases(case, backend, mode):
    weights, options, image, expected = golden(case)
    net = build_network({**options, 'backend': backend})
    net.load_state_dict(convert_state_dict(weights, options))
    getattr(net, mode)()
    with torch.no_grad():
        assert_close(net(image), expected, 2e-6)


def test_released_defaults():
    options = network_options({'dim': 8, 'n_blocks': 1, 'window_sizes': [4], 'num_heads': [2], 'ranks': [4]})
    assert options == {
        'type': 'SST',
        'scale': 2,
        'dim': 8,
        'num_blocks': 1,
        'window_sizes': [4],
        'num_heads': [2],
        'ffn_expansion': 2,
        'bias': {'type': 'RIB', 'ranks': [4], 'hidden': 64, 'bands': 10},
        'gate': 'none',
        'upsampler': {'type': 'pixelshuffle_direct'},
    }


RELEASED = {
    'dim': 8,
    'n_blocks': 2,
    'window_sizes': [4, 4],
    'num_heads': [2, 2],
    'gate_type': 'DWC',
    'rib_hidden_dim': 4,
}
TYPES = ['RIB', 'RIBSiren', 'Naive', 'SDPA', 'Flex', 'FlashBias', 'RoPEViT', 'CPE', 'NoPE']


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('upsampler', ['pixelshuffle_direct', 'pixelshuffle', 'nn+conv'])
@pytest.mark.parametrize('gate', ['DWC', 'Linear', None])
@pytest.mark.parametrize('attn_type', TYPES)
def test_every_released_variant_converts_and_runs(attn_type, gate, upsampler, scale):
    released = RELEASED | {
        'attn_type': attn_type,
        'gate_type': gate,
        'upsampler_type': upsampler,
        'upscaling_factor': scale,
        'intermediate_dim': 6,
    }
    if attn_type in ('RIB', 'RIBSiren', 'FlashBias'):
        released['ranks'] = [3, 3]
    weights = {name: torch.randn(shape) * 0.1 for name, shape in released_names(released).items()}
    assert is_released(weights)
    options = network_options(released)
    net = build_network(options)
    net.load_state_dict(convert_state_dict(weights, options))  # strict: every name, every shape
    with torch.no_grad():
        assert net(torch.rand(1, 3, 5, 6)).isfinite().all()


ESCRIB = {
    'type': 'ESCRIB',
    'dim': 8,
    'pdim': 4,
    'kernel_size': 3,
    'n_blocks': 2,
    'conv_blocks': 2,
    'window_size': 4,
    'num_heads': 2,
}


def test_released_defaults_of_escrib():
    assert network_options(ESCRIB) == {
        'type': 'ESCRIB',
        'scale': 2,
        'dim': 8,
        'pdim': 4,
        'kernel_size': 3,
        'num_blocks': 2,
        'conv_blocks': 2,
        'window_size': 4,
        'num_heads': 2,
        'ffn_expansion': 2,
        'use_ln': False,
        'bias': {'type': 'RPB'},
        'gate': 'none',
        'upsampler': {'type': 'pixelshuffle_direct'},
    }


@pytest.mark.parametrize(
    ('fields', 'rank'),
    [({'rank': 6, 'flashbias_rank': 5}, 6), ({'rank': None, 'flashbias_rank': 5}, 5), ({}, 252)],
    ids=str,
)
def test_rank_of_escrib(fields, rank):
    assert network_options(ESCRIB | {'attn_type': 'RIB'} | fields)['bias']['ranks'] == rank


@pytest.mark.parametrize('use_ln', [False, True])
@pytest.mark.parametrize('gate', ['DWC', 'Linear', None])
@pytest.mark.parametrize('attn_type', [kind for kind in TYPES if kind != 'CPE'])
def test_every_released_variant_of_escrib_converts_and_runs(attn_type, gate, use_ln):
    released = ESCRIB | {'attn_type': attn_type, 'gate_type': gate, 'use_ln': use_ln, 'rank': 3, 'rib_hidden_dim': 4}
    shown = {'exp_ratio': 2, 'upsampler_type': 'pixelshuffle_direct', 'upscaling_factor': 2}
    names = escrib_names(released | shown | {'lns': ['lns.0', 'lns.1'] if use_ln else []})
    weights = {name: torch.randn(shape) * 0.1 for name, shape in names.items()}
    assert released_type(weights) == 'ESCRIB'
    options = network_options(released)
    net = build_network(options)
    net.load_state_dict(convert_state_dict(weights, options))
    with torch.no_grad():
        assert net(torch.rand(1, 3, 5, 6)).isfinite().all()


def test_a_file_of_esc_is_left_to_the_rivals():
    esc = NETWORKS['ESC'](dim=8, pdim=4, kernel_size=3, n_blocks=1, conv_blocks=1, window_size=4, num_heads=2)
    assert released_type(esc.state_dict()) is None


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'attn_type': 'CPE'}, 'CPE'),
        ({'window_sizes': [4]}, 'window_sizes'),
        ({'num_heads': None}, 'num_heads'),
        ({'num_heads': [4, 4], 'rank': None}, 'num_heads'),
        ({'num_heads': 0}, 'num_heads.* 1, not 0'),
        ({'num_heads': [4]}, r'num_heads.* 1, not \[4\]'),
        ({'num_heads': True}, 'num_heads.* 1, not true'),
        ({'dim': 'wide'}, 'dim.* 1, not "wide"'),
        ({'type': ['ESCRIB']}, r'type.*\["ESCRIB"\]'),
    ],
    ids=str,
)
def test_released_options_that_escrib_does_not_have_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        network_options(ESCRIB | change)


@pytest.mark.parametrize('name', ['blocks.0.attn.to_v.weight', 'blocks.0.pconvs.0.plk.bias', 'last.2.weight'])
def test_a_name_that_no_released_escrib_has_is_named(name):
    weights, options, _, _ = golden('escrib_x2')
    with pytest.raises(ValueError, match=name):
        convert_state_dict(weights | {name: torch.zeros(1)}, options)


@pytest.mark.parametrize(
    ('change', 'words'),
    [({'attn_type': 'ALiBi'}, 'ALiBi'), ({'window': 3}, 'window'), ({'upsampler_type': 'bilinear'}, 'bilinear')],
)
def test_unknown_released_options_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        network_options(RELEASED | {'ranks': [2, 2]} | change)


def test_a_null_is_a_field_left_out():
    nulls = {'exp_ratio': None, 'attn_type': None, 'upsampler_type': None, 'upscaling_factor': None}
    assert network_options(RELEASED | {'ranks': [2, 2]} | nulls) == network_options(RELEASED | {'ranks': [2, 2]})


def test_missing_released_options_are_named():
    with pytest.raises(ValueError, match='num_heads'):
        network_options({'dim': 8, 'n_blocks': 1, 'window_sizes': [4]})


def test_a_name_no_release_has_is_named():
    weights, options, _, _ = golden('light_x2')
    with pytest.raises(ValueError, match=r'body\.0\.0\.attn\.to_v'):
        convert_state_dict(weights | {'body.0.0.attn.to_v.weight': torch.zeros(1)}, options)
