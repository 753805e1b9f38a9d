"""Checkpoints of other programs: the network is found where one entry alone may be meant."""

import argparse
import json
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from helpers import tiny_options
from PIL import Image
from safetensors.torch import save_file

import sst
from sst import info, upscale
from sst.archs import SST
from sst.checkpoints.fitting import load_weights
from sst.utils.errors import UserError


def network(seed=0):
    torch.manual_seed(seed)
    return SST(**tiny_options())


def weights(seed=0, prefix=''):
    return {prefix + name: value for name, value in network(seed).state_dict().items()}


def loaded(path, **how):
    """The seed of the weights that a file gives to an SST, by both ways in."""
    net = SST(**tiny_options())
    load_weights(net, str(path), **how)
    upscaler = sst.load_model(path, window_sizes=[4, 6], **how)
    assert torch.equal(upscaler.net.stem.weight, net.stem.weight)
    (seed,) = [seed for seed in range(3) if torch.equal(network(seed).stem.weight, net.stem.weight)]
    return seed


OTHERS = weights(1, 'discriminator.')
FOUND = {
    'Lightning': {'epoch': 3, 'state_dict': {**weights(0, 'model.'), 'loss.vgg.weight': torch.ones(2)}},
    'mmagic': {
        'meta': {'iter': 5},
        'state_dict': {**weights(1, 'generator.'), **weights(0, 'generator_ema.'), 'step_counter': torch.tensor(3)},
        'optimizer': {'state': {0: {'exp_avg': torch.ones(2)}}},
    },
    'a GAN': {'state_dict': weights(0, 'generator.') | OTHERS},
    'model': {'model': weights(), 'optimizer': {'state': {}}},
    'params-ema': {'params-ema': weights(), 'params': weights(1)},
    'generator': {'generator': weights(), 'discriminator': OTHERS},
    'net_g': {'net_g': weights(), 'net_d': weights(1)},
    'g_ema': {'g': weights(1), 'g_ema': weights(), 'd': OTHERS},
    'a name of its own': {'student': weights(), 'epoch': 3},
    'both of BasicSR': {'params': weights(1), 'params_ema': weights(), 'model': weights(2)},
    'layers of wrappers': {'state_dict': weights(0, 'model._orig_mod.')},
}
PREFIXES = ('netG.', 'net_g.', 'generator.', 'model.', 'module.', 'params.', 'params_ema.', 'module.net_g.')


@pytest.mark.parametrize('content', FOUND.values(), ids=FOUND)
def test_the_network_is_found(tmp_path, content):
    torch.save(content, tmp_path / 'net.pth')
    assert loaded(tmp_path / 'net.pth') == 0


@pytest.mark.parametrize('prefix', PREFIXES)
def test_prefixes_in_safetensors(tmp_path, prefix):
    save_file(weights(0, prefix), tmp_path / 'net.safetensors')
    assert loaded(tmp_path / 'net.safetensors') == 0


def test_the_average_is_preferred_in_safetensors_too(tmp_path):
    save_file(weights(1, 'params.') | weights(0, 'params_ema.'), tmp_path / 'net.safetensors')
    assert loaded(tmp_path / 'net.safetensors') == 0
    assert loaded(tmp_path / 'net.safetensors', param_key='params') == 1


AMBIGUOUS = {
    'two networks': ({'netG': weights(), 'generator': weights(1)}, ('netG', 'generator')),
    'unknown names': ({'student': weights(), 'teacher': weights(1)}, ('student', 'teacher')),
    'below': (
        {'state_dict': weights(0, 'net_g.') | weights(1, 'model.')},
        ('state_dict.net_g', 'state_dict.model'),
    ),
}


@pytest.mark.parametrize(('content', 'keys'), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_may_be_meant_in_several_ways_is_asked_for(tmp_path, capsys, content, keys):
    file = tmp_path / 'net.pth'
    torch.save(content, file)
    with pytest.raises(UserError) as fault:
        sst.load_model(file)
    (line,) = str(fault.value).splitlines()
    assert all(word in line for word in (*keys, 'path.param_key_g', '--param-key', str(file)))
    for seed, key in enumerate(keys):
        assert loaded(file, param_key=key) == seed
    picture = tmp_path / 'picture.png'
    Image.new('RGB', (8, 8)).save(picture)
    command = f'{picture} -o {tmp_path}/out.png -n {file} --device cpu --window-sizes 4,6'.split()
    with pytest.raises(SystemExit) as stop:
        upscale.main(command)
    assert stop.value.code == 2
    assert upscale.main([*command, '--param-key', keys[0]]) == 0
    assert info.main([str(file)]) == 2
    capsys.readouterr()
    assert info.main([str(file), '--json', '--param-key', keys[1]]) == 0
    assert json.loads(capsys.readouterr().out)[0]['entry'] == keys[1]


def test_a_key_that_is_not_there_names_those_that_are(tmp_path):
    torch.save({'state_dict': weights(0, 'net_g.'), 'epoch': 3}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r"no weights under 'params_ema'.*state_dict, state_dict\.net_g"):
        sst.load_model(tmp_path / 'net.pth', param_key='params_ema')


def test_a_network_whose_own_names_look_like_an_entry(tmp_path):
    other, fresh = (
        torch.nn.ModuleDict({'model': torch.nn.Conv2d(3, 4, 3), 'head': torch.nn.Linear(2, 2)}) for _ in range(2)
    )
    torch.save(other.state_dict(), tmp_path / 'net.pth')
    load_weights(fresh, str(tmp_path / 'net.pth'))
    for name, value in other.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)


def test_content_counts_not_the_name(tmp_path):
    torch.save({'params': weights()}, tmp_path / 'net.safetensors')
    save_file(weights(1), tmp_path / 'net.pth')
    assert loaded(tmp_path / 'net.safetensors') == 0
    assert loaded(tmp_path / 'net.pth') == 1
    with redirect_stdout(StringIO()) as out:
        info.main(['--json', str(tmp_path / 'net.safetensors'), str(tmp_path / 'net.pth')])
    assert [about['format'] for about in json.loads(out.getvalue())] == ['PyTorch', 'safetensors']


@pytest.mark.parametrize('zipped', [True, False])
def test_objects_beside_the_weights_are_one_line(tmp_path, zipped):
    content = {'state_dict': weights(0, 'model.'), 'hyper_parameters': argparse.Namespace(scale=2)}
    torch.save(content, tmp_path / 'net.ckpt', _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r'^[^\n]*net\.ckpt[^\n]*argparse\.Namespace[^\n]*$'):
        sst.load_model(tmp_path / 'net.ckpt')


@pytest.mark.parametrize(('content', 'advised'), [({'epoch': 3}, False), ({'params': weights()}, True)])
def test_an_entry_is_advised_only_where_there_is_one(tmp_path, content, advised):
    torch.save(content, tmp_path / 'net.pth')
    with pytest.raises(UserError, match='has no weights') as fault:
        sst.load_model(tmp_path / 'net.pth', param_key='nothing')
    assert ('--param-key' in str(fault.value)) == advised
