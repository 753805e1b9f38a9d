"""Networks to files and back."""

import json

import pytest
import torch
from helpers import assert_close, picture, tiny_options
from released import golden

from sst.archs import SST
from sst.archs.sst_options import SSTOptions
from sst.checkpoints.facts import facts, network_of
from sst.checkpoints.pretrained import MissingOptionsError, from_pretrained, save_pretrained
from sst.checkpoints.published import PUBLISHED, published_names, stem_of
from sst.checkpoints.weights import read_weights
from sst.options import load_options
from sst.utils.errors import UserError
from sst.utils.safetensors_files import write_safetensors

VARIANTS = [
    {},
    {'bias': {'type': 'SIREN', 'ranks': [3, 5], 'hidden': 7}, 'gate': 'pointwise', 'scale': 4},
    {'bias': {'type': 'FlashBias', 'ranks': 3}, 'gate': 'none', 'num_heads': [2, 3]},
    {'bias': {'type': 'RPB'}, 'upsampler': {'type': 'pixelshuffle', 'channels': 8}, 'scale': 3},
    {'bias': {'type': 'RoPE'}, 'upsampler': {'type': 'nearest_conv', 'channels': 8}, 'scale': 3},
    {'bias': {'type': 'CPE'}, 'ffn_expansion': 1.3, 'num_heads': 3},
    {'bias': {'type': 'none'}, 'num_heads': [4, 6]},
]
NAMES = [variant.get('bias', {'type': 'RIB'})['type'] for variant in VARIANTS]


def network(net):
    return {key: value for key, value in net.options.items() if key not in ('backend', 'attention_dtype')}


@pytest.mark.parametrize('options', VARIANTS, ids=NAMES)
@pytest.mark.parametrize('place', ['net.safetensors', 'folder'])
def test_round_trip_to_the_bit(tmp_path, place, options):
    net = SST(**tiny_options(**options)).eval()
    save_pretrained(net, tmp_path / place, {'training_data': 'noise'})
    again = from_pretrained(tmp_path / place)
    assert not again.training
    assert network(again) == network(net)
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    image = picture(9, 7)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))


@pytest.mark.parametrize('options', VARIANTS, ids=NAMES)
def test_the_tensors_alone_tell_the_network(tmp_path, options):
    """As after a program that drops the texts of a file."""
    net = SST(**tiny_options(**options))
    weights = read_weights(str(save_pretrained(net, tmp_path / 'net.safetensors')))
    found = SSTOptions.parse(network_of(facts(weights.state), weights.stated)).model_dump()
    wanted = net.options
    assert int(found.pop('ffn_expansion') * 12) == int(wanted.pop('ffn_expansion') * 12)
    assert found == wanted


def test_metadata_and_config_hold_what_was_given(tmp_path):
    metadata = {'name': 'Müller', 'training_data': ['a', 'b'], 'iterations': 5, 'licence': '3'}
    file = save_pretrained(SST(**tiny_options()), tmp_path, metadata)
    assert read_weights(str(file)).metadata == metadata
    config = json.loads((tmp_path / 'config.json').read_text(encoding='utf-8'))
    assert config['network_g']['window_sizes'] == [4, 6]
    assert config['metadata'] == metadata


def test_half_precision_is_kept_in_the_file(tmp_path):
    net = SST(**tiny_options()).optimize_for_inference(torch.float16)
    file = save_pretrained(net, tmp_path / 'half.safetensors')
    assert read_weights(str(file)).state['stem.weight'].dtype == torch.float16
    assert torch.equal(from_pretrained(file).stem.weight, net.stem.weight.float())


def test_our_checkpoints_tell_their_network(tmp_path):
    net = SST(**tiny_options())
    content = {'params': SST(**tiny_options()).state_dict(), 'params_ema': net.state_dict()}
    options = {'type': 'SST', **tiny_options(), 'backend': 'flash', 'attention_dtype': 'bfloat16'}
    torch.save(content | {'network_g': options}, tmp_path / 'net.pth')
    again = from_pretrained(tmp_path / 'net.pth')
    assert torch.equal(again.stem.weight, net.stem.weight)
    assert (again.options['backend'], again.options['attention_dtype']) == ('auto', 'auto')


def test_released_windows_are_asked_for_never_guessed(tmp_path):
    weights, options, image, expected = golden('light_x2')
    torch.save({'params': weights}, tmp_path / 'released.pth')
    with pytest.raises(MissingOptionsError, match='window_sizes='):
        from_pretrained(tmp_path / 'released.pth')
    net = from_pretrained(tmp_path / 'released.pth', window_sizes=options['window_sizes'])
    with torch.no_grad():
        assert_close(net(image), expected, 2e-6)
    with pytest.raises(UserError, match='window_sizes'):
        from_pretrained(tmp_path / 'released.pth', window_sizes=[8])


@pytest.mark.parametrize('name', ['m.pth', 'm.PT', 'm.ckpt', 'm.bin'])
def test_endings_of_other_formats_are_refused(tmp_path, name):
    with pytest.raises(UserError, match='m.safetensors'):
        save_pretrained(SST(**tiny_options()), tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['released', 'ours'])
def test_one_window_serves_every_layer(tmp_path, kind):
    net = SST(**tiny_options(window_sizes=[8, 8]))
    if kind == 'ours':
        file = save_pretrained(net, tmp_path / 'net.safetensors')
    else:
        file = tmp_path / 'net.pth'
        torch.save(net.state_dict(), file)
    assert from_pretrained(file, window_sizes=8).options['window_sizes'] == (8, 8)


def test_windows_of_the_papers_models_are_offered_by_name(tmp_path):
    with torch.device('meta'):
        shapes = SST(**PUBLISHED['SST-light+'], scale=2).state_dict()
    torch.save({key: torch.zeros(1).expand(value.shape) for key, value in shapes.items()}, tmp_path / 'net.pth')
    with pytest.raises(MissingOptionsError) as fault:
        from_pretrained(tmp_path / 'net.pth')
    for name in ('SST-light', 'SST-light+'):
        assert f'window_sizes={PUBLISHED[name]["window_sizes"]} if it is {name}' in str(fault.value)


def test_all_that_no_shape_tells_is_asked_for_at_once(tmp_path):
    options = {'bias': {'type': 'CPE'}, 'upsampler': {'type': 'nearest_conv', 'channels': 8}, 'scale': 3}
    net = SST(**tiny_options(**options))
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    with pytest.raises(MissingOptionsError, match=r'window_sizes.*num_heads=.*scale='):
        from_pretrained(tmp_path / 'net.pth')
    again = from_pretrained(tmp_path / 'net.pth', window_sizes=[4, 6], num_heads=2, scale=3)
    assert network(again) == network(net)


def test_arguments_against_the_file_are_refused(tmp_path):
    file = save_pretrained(SST(**tiny_options()), tmp_path / 'net.safetensors')
    assert from_pretrained(file, window_sizes=[4, 6], num_heads=2, scale=2).scale == 2
    with pytest.raises(UserError, match='window_sizes'):
        from_pretrained(file, window_sizes=[4, 8])


def test_a_file_that_contradicts_itself_is_refused(tmp_path):
    net = SST(**tiny_options())
    stated = {'window_sizes': torch.tensor([4, 6], dtype=torch.int32)}
    edited = json.dumps({'type': 'SST', **tiny_options(window_sizes=[4, 8])})
    write_safetensors(tmp_path / 'net.safetensors', net.state_dict() | stated, {'network_g': edited})
    with pytest.raises(UserError, match='window_sizes'):
        from_pretrained(tmp_path / 'net.safetensors')


@pytest.mark.parametrize(
    ('network_g', 'word'),
    [
        ({'type': 'EDSR'}, 'num_in_ch'),
        ({'type': 'NoSuchNet'}, 'NoSuchNet'),
        ({'type': 3}, '3'),
        ({'dimm': 3}, 'dimm'),
        (tiny_options(dim=24), 'dim is 12'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_network_that_the_file_names_wrongly_is_one_line(tmp_path, network_g, word):
    torch.save({'params': SST(**tiny_options()).state_dict(), 'network_g': network_g}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=rf'^[^\n]*net\.pth: [^\n]*{word}[^\n]*$'):
        from_pretrained(tmp_path / 'net.pth')


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    net = SST(**tiny_options())
    with torch.no_grad():
        net.norm.bias[3] = torch.nan
    with pytest.raises(UserError, match=r'norm\.bias'):
        save_pretrained(net, tmp_path / 'net.safetensors')
    assert list(tmp_path.iterdir()) == []


def test_another_networks_weight_called_scale_is_its_own(tmp_path):
    state = {'scale': torch.tensor(3), 'weight': torch.zeros(2)}
    torch.save(state, tmp_path / 'net.pth')
    assert set(read_weights(str(tmp_path / 'net.pth')).state) == set(state)


# ---- the models of the paper


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_models_are_those_of_the_option_files(name):
    file = f'options/test_{stem_of(name)}_x3.yml'
    assert published_names(load_options(file)['network_g']) == [name]


def test_one_number_changed_is_another_model():
    assert published_names(PUBLISHED['SST'] | {'dim': 186, 'scale': 4}) == []
    assert published_names(PUBLISHED['SST'] | {'scale': 4, 'backend': 'sdpa'}) == ['SST']
    assert published_names(PUBLISHED['SST'], any_windows=True) == ['SST', 'SST+']
