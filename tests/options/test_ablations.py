"""Each ablation changes one thing of a published run."""

from pathlib import Path

import pytest

from sst.checkpoints.networks import built
from sst.options import load_options

FOLDER = Path(__file__).parents[2] / 'options'
FILES = sorted(path.stem for path in (FOLDER / 'ablations').glob('*.yml'))
DIFFERENCES = {  # kind: the field of `network_g`
    'bias': 'bias',
    'gate': 'gate',
    'windows': 'window_sizes',
    'bands': 'bias',
    'rank': 'bias',
    'hidden': 'bias',
}
PARAMETERS = {  # in M, of Table 4
    'bias_RPB': 13.6,
    'bias_RPB_flex': 13.6,
    'bias_CPE': 11.3,
    'bias_FlashBias': 46.6,  # 46.7 in the paper
    'bias_RoPE': 11.3,
}


@pytest.mark.parametrize('name', FILES)
def test_there_is_one_difference(name):
    options = load_options(FOLDER / 'ablations' / f'{name}.yml')
    kind = name.split('_')[0]
    base = load_options(FOLDER / ('train_SST_plus_x2.yml' if kind == 'bias' else 'train_SST_x2.yml'))
    assert options.pop('name') == f'ablation_{name}'
    base.pop('name')
    changed, network = options.pop('network_g'), base.pop('network_g')
    assert options == base
    different = {key for key in network if network[key] != changed[key]}
    assert different - {'backend'} == {DIFFERENCES[kind]}
    if kind in ('bands', 'rank', 'hidden') and changed['bias']['type'] == 'RIB':
        assert len({key for key in changed['bias'] if changed['bias'][key] != network['bias'][key]}) == 1


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameters_are_those_of_the_paper(name):
    net = built(load_options(FOLDER / 'ablations' / f'{name}.yml')['network_g'], 'meta')
    assert round(sum(weight.numel() for weight in net.parameters()) / 1e6, 1) == PARAMETERS[name]


def test_shifted_windows_are_those_of_equal_size():
    net = built(load_options(FOLDER / 'ablations/windows_equal.yml')['network_g'], 'meta')
    assert [layer.attn.shift for layer in net.blocks[0].layers] == [0, 32, 0, 32, 0, 32]
