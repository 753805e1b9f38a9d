import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close, picture, tiny_options
from released import golden

from sst.archs import SST
from sst.checkpoints.facts import facts
from sst.checkpoints.fitting import MisfitError, load_weights
from sst.checkpoints.weights import read_weights
from sst.utils.errors import UserError


def save(path, net, key='params', **extra):
    torch.save({key: net.state_dict(), **extra}, path)
    return str(path)


def test_a_released_file_loads_as_it_is(tmp_path):
    weights, options, image, expected = golden('light_x2')
    torch.save({'params': {k: v * 0 for k, v in weights.items()}, 'params_ema': weights}, tmp_path / 'released.pth')
    options.pop('type')
    net = SST(**options).eval()
    report = load_weights(net, str(tmp_path / 'released.pth'))
    assert 'params_ema' in report
    with torch.no_grad():
        assert_close(net(image), expected, 2e-6)


MISFITS = [
    ({'dim': 16}, 'dim is 16 in the file, 12 in network_g'),
    ({'num_blocks': 1}, 'blocks is 1 in the file, 2 in network_g'),
    ({'num_heads': 3}, 'heads is 3 in the file, 2 in network_g'),
    ({'bias': {'type': 'RIB', 'ranks': [2, 6], 'hidden': 8, 'bands': 4}}, 'ranks is 2 6 in the file, 2 4 in network_g'),
    (
        {'window_sizes': [4, 6, 4], 'bias': {'type': 'RIB', 'ranks': [2, 4, 2], 'hidden': 8, 'bands': 4}},
        'layers is 3 in the file, 2 in network_g',
    ),
    ({'scale': 4}, 'scale is 4 in the file, 2 in network_g'),
    ({'bias': {'type': 'RPB'}}, 'bias is RPB in the file, RIB in network_g'),
    ({'gate': 'none'}, 'gate is none in the file, CLA in network_g'),
    ({'ffn_expansion': 2.0}, 'ffn_expansion is 2.0 in the file, 1.5 in network_g'),
    ({'upsampler': {'type': 'pixelshuffle', 'channels': 8}}, 'upsampler is pixelshuffle in the file'),
]


@pytest.mark.parametrize(('change', 'words'), MISFITS, ids=[' '.join(change) for change, _ in MISFITS])
def test_a_misfit_says_which_and_what_the_file_holds(tmp_path, change, words):
    file = save(tmp_path / 'other.pth', SST(**tiny_options(**change)))
    with pytest.raises(MisfitError, match=rf'^[^\n]*other\.pth[^\n]*{words}[^\n]*$'):
        load_weights(SST(**tiny_options()), file)


def test_a_released_misfit_is_named_too(tmp_path):
    torch.save({'params': golden('light_x2')[0]}, tmp_path / 'released.pth')
    with pytest.raises(MisfitError, match=r'dim is \d+ in the file, 12 in network_g'):
        load_weights(SST(**tiny_options()), str(tmp_path / 'released.pth'))


def test_not_strict_takes_what_fits(tmp_path):
    other = SST(**tiny_options(upsampler={'type': 'pixelshuffle', 'channels': 8}))
    net = SST(**tiny_options())
    report = load_weights(net, save(tmp_path / 'other.pth', other), strict=False)
    assert torch.equal(net.stem.weight, other.stem.weight)
    assert 'without' in report


ODD = [[1, 2], {'params': {'a': 3}}, {}, {1: torch.zeros(1)}, {'params': 3}]


@pytest.mark.parametrize('content', ODD, ids=['list', 'no tensors', 'empty', 'numbered', 'a number'])
def test_a_file_without_weights_is_one_line(tmp_path, content):
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(UserError, match=r'^[^\n]*odd\.pth[^\n]*$'):
        read_weights(str(tmp_path / 'odd.pth'))


def test_entries_that_are_no_tensors_and_prefixes_do_not_matter(tmp_path):
    net, other = SST(**tiny_options()), SST(**tiny_options())
    state = {f'module._orig_mod.{name}': value for name, value in net.state_dict().items()}
    torch.save({'params': {**state, 'epoch': 3}, 'params_ema': {}, 'network_g': 'SST'}, tmp_path / 'net.pth')
    assert '(params)' in load_weights(other, str(tmp_path / 'net.pth'))
    assert torch.equal(other.stem.weight, net.stem.weight)


def test_a_released_weight_nobody_knows_is_one_line(tmp_path):
    weights, _, _, _ = golden('light_x2')
    torch.save({'params': weights | {'body.0.0.attn.extra': torch.zeros(1)}}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r'net\.pth.*attn\.extra'):
        read_weights(str(tmp_path / 'net.pth'))


def test_windows_that_differ_are_reported_since_no_shape_tells(tmp_path):
    net = SST(**tiny_options())
    file = save(tmp_path / 'net.pth', net, network_g={'window_sizes': [4, 6]})
    assert 'trained with' not in load_weights(net, file)
    assert 'trained with windows 4 6, used with 4 8' in load_weights(SST(**tiny_options(window_sizes=[4, 8])), file)


@pytest.mark.parametrize('windows', [[[1], [2]], ['4', '6'], 'abc', []], ids=str)
def test_windows_in_another_form_are_ignored(tmp_path, windows):
    net = SST(**tiny_options())
    assert 'trained with' not in load_weights(net, save(tmp_path / 'net.pth', net, network_g={'window_sizes': windows}))


UNUSABLE = [
    (lambda weight: weight.to_sparse(), 'sparse'),
    (lambda weight: weight.to('meta'), 'without values'),
    (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), 'quantised'),
    (lambda weight: weight.long(), 'int64'),
    (lambda weight: weight * 1j, 'complex64'),
    (lambda weight: weight / 0, 'not finite'),
    (lambda weight: weight[0], 'weights are missing or of another shape'),
    (lambda weight: weight.double().fill_(1e300), 'not finite'),  # as float32
]


@pytest.mark.filterwarnings('ignore')  # PyTorch's, of its quantised and sparse tensors
@pytest.mark.parametrize(('change', 'words'), UNUSABLE, ids=[words for _, words in UNUSABLE])
def test_weights_that_are_no_real_numbers_are_refused_by_name(tmp_path, change, words):
    state = SST(**tiny_options()).state_dict()
    torch.save({'params': state | {'norm.weight': change(state['norm.weight'])}}, tmp_path / 'odd.pth')
    with pytest.raises(UserError, match=rf'^[^\n]*odd\.pth: [^\n]*{words}[^\n]*norm\.weight[^\n]*$'):
        load_weights(SST(**tiny_options()), str(tmp_path / 'odd.pth'))


def test_integer_and_infinite_buffers_load(tmp_path):
    net = torch.nn.BatchNorm2d(2)
    net.running_var[0] = torch.inf
    assert 'without' not in load_weights(torch.nn.BatchNorm2d(2), save(tmp_path / 'net.pth', net))


# ---- weights of a smaller scale for x3 and x4


@pytest.mark.parametrize(
    'upsampler', [{'type': 'pixelshuffle_direct'}, {'type': 'pixelshuffle', 'channels': 8}], ids=str
)
@pytest.mark.parametrize(('old', 'new'), [(2, 3), (2, 4), (3, 4)])
def test_weights_start_a_larger_scale_by_a_resized_convolution(tmp_path, old, new, upsampler):
    smaller, net = (SST(**tiny_options(scale=scale, upsampler=upsampler)) for scale in (old, new))
    report = load_weights(net, save(tmp_path / 'smaller.pth', smaller), transfer=True)
    assert f'resized from x{old} to x{new}' in report
    assert torch.equal(net.stem.weight, smaller.stem.weight)
    before, after = smaller.upsampler.up.weight, net.upsampler.up.weight
    for channel in range(3):  # one output channel's sub-kernels at one tap form an old x old image
        image = before[old**2 * channel : old**2 * (channel + 1), 1, 0, 2].reshape(1, 1, old, old)
        expected = F.interpolate(image, size=(new, new), mode='bilinear', align_corners=False).flatten()
        assert_close(after[new**2 * channel : new**2 * (channel + 1), 1, 0, 2], expected, 1e-6)


def test_a_test_run_never_resizes(tmp_path):
    with pytest.raises(UserError, match='scale is 2 in the file, 3 in network_g'):
        load_weights(SST(**tiny_options(scale=3)), save(tmp_path / 'x2.pth', SST(**tiny_options())))


def test_facts_are_read_off_shapes():
    net = SST(**tiny_options(scale=4, upsampler={'type': 'nearest_conv', 'channels': 6}))
    found = facts(net.state_dict())
    options = found.options
    assert (options['dim'], options['num_blocks'], options['window_sizes']) == (12, 2, (None, None))
    assert (options['num_heads'], options['bias']['ranks']) == ((2, 2), (2, 4))
    upsampler = {'type': 'nearest_conv', 'channels': 6}
    assert (options['gate'], options['upsampler'], found.scale) == ('CLA', upsampler, 4)


def test_loaded_weights_are_used_at_once(tmp_path):
    net, other = SST(**tiny_options()).eval(), SST(**tiny_options())
    image = picture(6, 6)
    with torch.no_grad():
        net(image)  # fills the table caches
        load_weights(net, save(tmp_path / 'other.pth', other))
        assert_close(net(image), other.eval()(image), 1e-6)
