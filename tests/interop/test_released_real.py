"""Released files of SSTReal: options, names, and recognition."""

import json

import pytest
import torch
from helpers import assert_close
from real_networks import golden_case

import sst
from sst.archs import SSTReal
from sst.checkpoints.pretrained import MissingOptionsError
from sst.info import main as info
from sst.interop.official import convert_state_dict, network_options
from sst.interop.onnx import exportable
from sst.interop.released_real import NAMES
from sst.options.translation import translate
from sst.utils.errors import UserError

IGNORED = {'up_list': [2], 'down_list': [2], 'sigma_max': 80, 'use_enc': True, 'img_resolution': 64}


def released_weights(net):
    """The weights of an SSTReal with the released names and shapes, as written in the table of the release."""
    layer = {
        'attn.qkv': 'attn.to_qkv',
        'attn.proj': 'attn.to_out',
        'attn.gate.depthwise': 'attn.gate.0',
        'attn.gate.pointwise': 'attn.gate.1',
        'attn.bias.hidden_weight': 'attn.to_hidden',
        'attn.bias.hidden_bias': 'attn.hidden_b',
        'attn.bias.query_weight': 'attn.to_q',
        'attn.bias.key_weight': 'attn.to_k',
        'ffn.expand': 'ffn.w12.0',
        'ffn.depthwise': 'ffn.w12.1',
        'ffn.project': 'ffn.w3',
        'fuse': 'fuse_lr',
        'modulation': 'adaLN_modulation',
    }
    outside = {ours: theirs for theirs, ours in NAMES.items()}
    result = {}
    for name, value in net.state_dict().items():
        path, kind = name.rpartition('.')[::2]
        if path in outside:
            theirs = f'{outside[path]}.{kind}'
        else:
            theirs = name.replace('blocks.', 'proj_body.').replace('.layers.', '.blocks.')
            for ours, other in layer.items():
                theirs = theirs.replace(f'.{ours}.', f'.{other}.') if kind in ('weight', 'bias') else theirs
                theirs = f'{theirs[: -len(ours)]}{other}' if theirs.endswith(f'.{ours}') else theirs
            if theirs.count('.') == 3:
                theirs = theirs.replace('.conv.', '.out_conv.')
        if name.endswith('gamma'):
            value = value[None, :, None, None]
        elif name.endswith('hidden_bias'):
            value = value[None]
        elif value.dim() == 2 and kind == 'weight' and not theirs.startswith('map_noise') and 'adaLN' not in theirs:
            value = value[..., None, None]
        result[f'model.{theirs}'] = value
    return result


def test_released_fields_become_ours():
    _, fields, _ = golden_case()
    options = network_options(fields | IGNORED)
    assert options == network_options(fields)
    assert (options['type'], options['scale'], options['lr_blocks']) == ('SSTReal', 4, 2)
    assert (options['middle_block'], options['guidance'], options['dropout']) == (1, 2.0, 0.05)
    assert network_options(fields | {'fuse_lr_till': -1})['lr_blocks'] == 0
    assert network_options(fields | {'fuse_lr_till': 99})['lr_blocks'] == fields['num_blocks']


def test_released_defaults():
    _, fields, _ = golden_case()
    optional = ('exp_ratio', 'gate_type', 'drop_p', 'rib_hidden_dim', 'rib_n_freqs', 'sampling_ig_lambda')
    options = network_options({key: value for key, value in fields.items() if key not in optional})
    assert (options['ffn_expansion'], options['gate'], options['dropout'], options['guidance']) == (2, 'none', 0, 1)
    assert (options['bias']['hidden'], options['bias']['bands']) == (32, 10)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'ig_idx': None}, 'ig_idx'),
        ({'window': 3}, 'window'),
        ({'attn_type': 'ALiBi'}, 'ALiBi'),
        ({'fuse_lr_till': 'six'}, 'fuse_lr_till.* -1, not "six"'),
        ({'fuse_lr_till': 1.5}, r'fuse_lr_till.* -1, not 1\.5'),
        ({'fuse_lr_till': -2}, 'fuse_lr_till.* -1, not -2'),
        ({'num_blocks': [3]}, r'num_blocks.* 1, not \[3\]'),
    ],
    ids=str,
)
def test_what_the_release_does_not_have_is_named(change, words):
    _, fields, _ = golden_case()
    with pytest.raises(ValueError, match=words):
        network_options(fields | change)


def test_a_released_section_of_an_option_file_is_understood():
    _, fields, _ = golden_case()
    content = {'network_g': fields}
    assert list(translate(content, 1))
    assert content['network_g'] == network_options(fields)


@pytest.mark.parametrize('gate', ['DWC', 'Linear', None])
@pytest.mark.parametrize('attn_type', ['RIB', 'Naive', 'FlashBias', 'CPE', 'NoPE'])
def test_every_released_variant_has_a_network(attn_type, gate):
    _, fields, _ = golden_case()
    options = network_options(fields | {'attn_type': attn_type, 'gate_type': gate})
    net = SSTReal(**{key: value for key, value in options.items() if key != 'type'}).eval()
    with torch.no_grad():
        assert net.enlarge(torch.rand(1, 3, 5, 6), multiple=8).isfinite().all()


def test_a_name_no_release_has_is_named():
    weights, fields, _ = golden_case()
    with pytest.raises(ValueError, match=r'proj_body\.0\.blocks\.0\.attn\.to_v'):
        convert_state_dict(weights | {'model.proj_body.0.blocks.0.attn.to_v': torch.zeros(1)}, network_options(fields))


@pytest.fixture
def files(tmp_path):
    """The golden weights as a released file, and the released option file."""
    weights, fields, _ = golden_case()
    torch.save({'params': {name: 0 * w for name, w in weights.items()}, 'params_ema': weights}, tmp_path / 'net.pth')
    return tmp_path / 'net.pth', fields


def test_a_released_file_loads_with_its_options(files):
    path, fields = files
    _, _, arrays = golden_case()
    net = sst.from_pretrained(path, network_g=network_options(fields))
    with torch.no_grad():
        assert_close(net(arrays['input'], arrays['sigma'], arrays['lq']), arrays['output'], 2e-6)


def test_a_file_of_another_size_asks_for_its_options(files):
    with pytest.raises(MissingOptionsError, match='SSTReal.*network_g'):
        sst.from_pretrained(files[0])


@pytest.fixture(scope='module')
def released_size(tmp_path_factory):
    """A file of the released size, in half precision, because it is large."""
    with torch.device('meta'):
        net = SSTReal()
    path = tmp_path_factory.mktemp('released') / 'SSTReal_X4.pth'
    weights = {name: torch.zeros(w.shape, dtype=torch.float16) for name, w in released_weights(net).items()}
    torch.save({'params_ema': weights}, path)
    return path, weights


def test_the_released_file_is_recognised(released_size, capsys):
    path, weights = released_size
    assert len(weights) == 1620
    assert info([str(path), '--json']) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found['model'], found['scale'], found['names']) == ('SSTReal', 4, 'released')
    assert found['parameters'] == 54_986_502
    assert found['windows'] == [16, 32, 64, 16, 32, 64]
    assert found['network_g']['guidance'] == 2


def test_the_released_file_loads(released_size):
    net = sst.from_pretrained(released_size[0], network_g={'guidance': 1.5}, backend='reference')
    assert isinstance(net, SSTReal)
    assert (net.guidance, net.options['backend']) == (1.5, 'reference')
    with pytest.raises(UserError, match='windows'):
        sst.from_pretrained(released_size[0], network_g={'windows': [8]})


def test_released_names_are_those_of_the_golden_file():
    weights, fields, _ = golden_case()
    options = network_options(fields)
    net = SSTReal(**{key: value for key, value in options.items() if key != 'type'})
    assert {k: v.shape for k, v in released_weights(net).items()} == {k: v.shape for k, v in weights.items()}


def test_saved_and_loaded_again(tmp_path, capsys):
    _, fields, _ = golden_case()
    options = network_options(fields)
    net = SSTReal(**{key: value for key, value in options.items() if key != 'type'})
    file = sst.save_pretrained(net, tmp_path / 'net.safetensors', {'name': 'Mine'})
    again = sst.from_pretrained(file)
    assert again.options == net.options
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
    assert info([str(file), '--json']) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found['model'], found['names'], found['windows']) == ('Mine (SSTReal)', 'ours', [4, 8])


def test_there_is_no_onnx_model():
    _, fields, _ = golden_case()
    options = network_options(fields)
    net = SSTReal(**{key: value for key, value in options.items() if key != 'type'})
    with pytest.raises(UserError, match='SSTReal.*noise'):
        exportable(net)
