"""The options of the network."""

import pytest

from sst.archs.sst_options import SSTOptions
from sst.options import OptionsError


def test_defaults_are_sst_light():
    assert SSTOptions.parse({}).model_dump() == {
        'type': 'SST',
        'scale': 2,
        'dim': 48,
        'num_blocks': 5,
        'window_sizes': (8, 16, 32, 16, 32, 64),
        'num_heads': (3, 3, 3, 3, 3, 3),
        'ffn_expansion': 1.5,
        'bias': {'type': 'RIB', 'ranks': (16, 16, 16, 24, 24, 24), 'hidden': 32, 'bands': 10},
        'gate': 'CLA',
        'upsampler': {'type': 'pixelshuffle_direct'},
        'backend': 'auto',
        'attention_dtype': 'auto',
    }


def test_numbers_are_repeated_per_layer():
    network = SSTOptions.parse({'window_sizes': [4, 8], 'num_heads': 2, 'bias': {'type': 'FlashBias', 'ranks': 4}})
    assert network.num_heads == (2, 2)
    assert network.bias.ranks == (4, 4)
    assert network.window_sizes == (4, 8)


def test_parsed_options_parse_again():
    network = SSTOptions.parse({'num_heads': [3, 3, 2, 3, 3, 3]})
    assert SSTOptions.parse(network.model_dump()) == network


@pytest.mark.parametrize('kind', ['RPB', 'RoPE', 'CPE', 'none'])
def test_biases_without_rank(kind):
    assert SSTOptions.parse({'bias': {'type': kind}}).model_dump()['bias'] == {'type': kind}


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize(
    'upsampler',
    [{'type': 'pixelshuffle_direct'}, {'type': 'pixelshuffle', 'channels': 8}, {'type': 'nearest_conv', 'channels': 8}],
    ids=lambda options: options['type'],
)
def test_upsamplers(scale, upsampler):
    assert SSTOptions.parse({'scale': scale, 'upsampler': upsampler}).upsampler.model_dump() == upsampler


REFUSED = [
    ({'dmi': 3}, 'dmi', ['"dim"?']),
    ({'type': 'EDSR'}, 'type', ['"EDSR"', 'SST']),
    ({'scale': 5}, 'scale', ['5', '2', '3', '4']),
    ({'scale': 2.0}, 'scale', ['2.0', '2', '3', '4']),
    ({'dim': 48.0}, 'dim', ['48.0']),
    ({'num_blocks': 0}, 'num_blocks', ['0', '1']),
    ({'window_sizes': [0]}, 'window_sizes.0', ['0', '1']),
    ({'window_sizes': 8}, 'window_sizes', ['8']),
    ({'window_sizes': [8, 16, 0, 16, 32, 64]}, 'window_sizes.2', ['0', '1']),
    ({'num_heads': 5}, 'num_heads', ['5', '1', '2', '3', '4', '6', '8', '12', '16', '24', '48']),
    ({'num_heads': [3, 3, 5, 3, 3, 3]}, 'num_heads.2', ['5', '1', '2', '3']),
    ({'num_heads': [3, 3]}, 'num_heads', ['[3, 3]', '6']),
    ({'ffn_expansion': 0.01}, 'ffn_expansion', ['0.01', '0', '02']),
    ({'gate': 'DWC'}, 'gate', ['"DWC"', 'CLA']),
    ({'backend': 'flahs'}, 'backend', ['"flahs"', '"flash"?']),
    ({'bias': 'RIB'}, 'bias', ['"RIB"']),
    ({'bias': {}}, 'bias.type', ['RIB', 'SIREN']),
    ({'bias': {'type': 'RIBS'}}, 'bias.type', ['"RIBS"', '"RIB"?']),
    ({'bias': {'type': 'RIB'}}, 'bias.ranks', []),
    ({'bias': {'type': 'RIB', 'ranks': [8, 8]}}, 'bias.ranks', ['[8, 8]', '6']),
    ({'bias': {'type': 'RIB', 'ranks': 8, 'bands': 0}}, 'bias.bands', ['0', '1']),
    ({'bias': {'type': 'SIREN', 'ranks': 8, 'bands': 3}}, 'bias.bands', ['SIREN']),
    ({'bias': {'type': 'RoPE', 'ranks': 8}}, 'bias.ranks', ['RoPE']),
    ({'upsampler': {'type': 'pixelshuffle'}}, 'upsampler.channels', []),
    ({'upsampler': {'type': 'pixelshuffle_direct', 'channels': 8}}, 'upsampler.channels', []),
    ({'upsampler': {'type': 'nn+conv', 'channels': 8}}, 'upsampler.type', ['"nn+conv"', 'nearest_conv']),
    ({'exp_ratio': 2}, 'exp_ratio', ['ffn_expansion']),
]


@pytest.mark.parametrize(('options', 'key', 'mentioned'), REFUSED, ids=[str(options) for options, *_ in REFUSED])
def test_refusal(options, key, mentioned):
    with pytest.raises(OptionsError) as caught:
        SSTOptions.parse(options, where='net')
    message = str(caught.value)
    assert '\n' not in message
    assert message.startswith(f'net.{key}: ')
    assert [text for text in mentioned if text not in message] == []


def test_every_fault_has_its_line():
    with pytest.raises(OptionsError) as caught:
        SSTOptions.parse({'window_sizes': [8, 8], 'num_heads': 5})
    assert [line.split(':')[0] for line in str(caught.value).splitlines()] == [
        'network_g.bias.ranks',
        'network_g.num_heads',
    ]
