"""`network_g: {type: from_weights}`: network and scale of the weights that an option file names."""

from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from helpers import tiny_escrib, tiny_options
from released import golden

from sst.archs import ESCRIB, SST
from sst.checkpoints.pretrained import save_pretrained
from sst.options import OptionsError, load_options

FINETUNE = Path(__file__).parents[2] / 'options' / 'finetune.yml'


def load(weights, *overrides, **where):
    return load_options(FINETUNE, [f'path:pretrain_network_g={weights}', *overrides], **where)


@pytest.fixture
def tiny(tmp_path):
    return save_pretrained(SST(**tiny_options(scale=3)), tmp_path / 'tiny.safetensors')


@pytest.mark.parametrize('scale', [2, 4])
def test_network_and_scale_are_those_of_the_weights(scale):
    options = load(f'SST-tiny-x{scale}')
    assert options['scale'] == options['network_g']['scale'] == scale
    assert options['datasets']['train']['gt_size'] == 64 * scale
    network = options['network_g']
    assert (network['type'], network['dim'], network['window_sizes']) == ('SST', 48, [8, 8, 16])


def test_what_the_files_say_goes_before_the_weights(tiny):
    overrides = ['scale=2', 'network_g:backend=reference', 'network_g:window_sizes=[2,4]', 'network_g:bias:type=RoPE']
    network = load(tiny, *overrides)['network_g']
    assert (network['scale'], network['backend'], network['window_sizes']) == (2, 'reference', [2, 4])
    assert (network['bias'], network['dim']) == ({'type': 'RoPE'}, 12)


def test_escrib_at_a_larger_scale_than_its_weights(tmp_path):
    file = save_pretrained(ESCRIB(**tiny_escrib(scale=3)), tmp_path / 'tiny.safetensors')
    network = load(file, 'scale=4')['network_g']
    assert (network['type'], network['scale'], network['window_size']) == ('ESCRIB', 4, 4)


def test_a_network_spelt_out_below_is_forgotten(tiny):
    overrides = ['network_g:type=from_weights', f'path:pretrain_network_g={tiny}', 'scale=3']
    options = load_options(FINETUNE.with_name('train_SST_light_x3.yml'), overrides)
    assert options['network_g'] == load(tiny)['network_g']


def test_files_lie_in_the_root_folder(tiny):
    assert load(tiny.name, root=tiny.parent)['network_g']['dim'] == 12


def test_the_network_in_a_checkpoint_of_another_kind(tmp_path):
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 3}
    torch.save({'params': build_network(network).state_dict(), 'network_g': network}, tmp_path / 'edsr.pth')
    options = load(tmp_path / 'edsr.pth')
    assert (options['network_g'], options['scale']) == (network, 3)


def test_the_entry_that_is_named_is_taken(tmp_path):
    torch.save(
        {key: SST(**tiny_options(dim=dim)).state_dict() for key, dim in (('one', 12), ('two', 24))}, tmp_path / 'f.pth'
    )
    windows, heads = tiny_options()['window_sizes'], tiny_options()['num_heads']
    named = [f'network_g:window_sizes={windows}'.replace(' ', ''), f'network_g:num_heads={heads}', 'network_g:scale=2']
    options = load(tmp_path / 'f.pth', *named, 'scale=2', 'path:param_key_g=two')
    assert options['network_g']['dim'] == 24


def test_what_released_weights_leave_open_is_asked_for(tmp_path):
    weights, network, *_ = golden('light_x2')
    torch.save({'params': weights}, tmp_path / 'released.pth')
    with pytest.raises(OptionsError, match=r'^[^\n]*released.pth[^\n]*window_sizes[^\n]*--force_yml network_g:[^\n]*$'):
        load(tmp_path / 'released.pth')
    windows = str(list(network['window_sizes'])).replace(' ', '')
    found = load(tmp_path / 'released.pth', f'network_g:window_sizes={windows}')['network_g']
    SST(**found).load_state_dict(build_network(network).state_dict())  # the shapes are the same


@pytest.mark.parametrize('weights', ['null', 'nothing.pth', '.', 'hf://no/such/'])
def test_without_weights_it_is_one_line(weights, tmp_path):
    with pytest.raises(OptionsError, match=r'^[^\n]*from_weights[^\n]*$'):
        load(weights, root=tmp_path)
