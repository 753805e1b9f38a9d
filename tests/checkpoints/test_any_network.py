"""Every network of BasicSR's registry that enlarges images: load_model, sst-upscale, sst-info, files, ONNX."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from helpers import picture, tiny_options
from PIL import Image

import sst
from sst import info, upscale
from sst.archs import SST
from sst.utils.errors import UserError

SMALL = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1}
SWINIR = {'img_size': 16, 'window_size': 8, 'depths': [2], 'embed_dim': 12, 'num_heads': [2], 'mlp_ratio': 2}
NETWORKS = {
    'Bicubic': {'scale': 3},
    'ECBSR': {'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 1, 'num_channel': 8, 'with_idt': False, 'act_type': 'relu'}
    | {'scale': 2},
    'EDSR': SMALL | {'upscale': 3},
    'MSRResNet': SMALL | {'upscale': 4},
    'RCAN': SMALL | {'num_group': 1, 'squeeze_factor': 4, 'upscale': 2},
    'RRDBNet': SMALL | {'num_grow_ch': 4, 'scale': 2},  # takes even sides alone
    'SRVGGNetCompact': {'num_feat': 8, 'num_conv': 1, 'upscale': 4, 'act_type': 'prelu'},
    'SwinIR': SWINIR | {'upscale': 2, 'upsampler': 'pixelshuffledirect'},  # takes multiples of 8 alone
}
WITH_WEIGHTS = {name: options for name, options in NETWORKS.items() if name != 'Bicubic'}


def network(kind, **changes):
    """The network with weights at which every part shows, and its options."""
    options = {'type': kind, **NETWORKS[kind], **changes}
    torch.manual_seed(4)
    net = build_network(dict(options)).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return net, options


def expected(net, image, multiple):
    """What the network makes of an image whose sides it takes, after extension by reflection."""
    height, width = image.shape[-2:]
    extended = torch.nn.functional.pad(image, (0, -width % multiple, 0, -height % multiple), 'reflect')
    with torch.no_grad():
        sr = net(extended)
    scale = sr.shape[-1] // extended.shape[-1]
    return sr[..., : scale * height, : scale * width].clamp(0, 1)


@pytest.fixture
def edsr(tmp_path):
    """A bare file of EDSR, as BasicSR's releases are, and an option file with its network."""
    net, options = network('EDSR')
    torch.save({'params': net.state_dict()}, tmp_path / 'edsr.pth')
    base = {'network_g': {key: value for key, value in options.items() if key != 'upscale'}}
    (tmp_path / 'base.yml').write_text(yaml.safe_dump(base))
    (tmp_path / 'edsr.yml').write_text('_base_: base.yml\nscale: 3\nnetwork_g: {upscale: "${scale}"}\n')
    return tmp_path / 'edsr.pth', tmp_path / 'edsr.yml', options


@pytest.mark.parametrize('kind', NETWORKS)
def test_upscaler_gives_what_the_network_gives(kind):
    net, options = network(kind)
    image = picture(19, 33)
    upscaler = sst.Upscaler(net, 'cpu')
    multiple = {'SwinIR': 8, 'RRDBNet': 2}.get(kind, 1)
    assert upscaler.scale == options.get('scale', options.get('upscale'))
    assert torch.allclose(upscaler(image), expected(net, image, multiple), atol=1e-6)
    assert upscaler.memory(100, 100) > 0


@pytest.mark.parametrize('kind', WITH_WEIGHTS)
@pytest.mark.parametrize('place', ['net.safetensors', 'folder', 'checkpoint'])
def test_files_that_tell_their_network(tmp_path, kind, place):
    net, options = network(kind)
    if place == 'checkpoint':  # as training writes it
        torch.save({'params_ema': net.state_dict(), 'network_g': options}, tmp_path / place)
    else:
        sst.save_pretrained(net, tmp_path / place, {'name': 'own'}, network_g=options)
    again = sst.from_pretrained(tmp_path / place)
    assert not again.training
    assert type(again) is type(net)
    for name, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    third = sst.from_pretrained(sst.save_pretrained(again, tmp_path / 'third.safetensors'))
    image = picture(16, 24)
    with torch.no_grad():
        assert torch.equal(third(image), net(image))


def test_tiles_and_ensemble():
    net, _ = network('RCAN')
    image = picture(60, 50)
    whole, tiled = (sst.Upscaler(net, 'cpu', tile=tile, overlap=16)(image) for tile in (None, 24))
    assert (whole - tiled).abs().mean() < 1e-3  # the channel attention sees a tile alone
    assert sst.Upscaler(network('SwinIR')[0], 'cpu', ensemble=True)(image).shape == (1, 3, 120, 100)


def test_half_precision():
    net, _ = network('SwinIR')
    image = picture(24, 16)
    exact = expected(net, image, 1)
    upscaler = sst.Upscaler(net, 'cpu', 'bfloat16')
    assert upscaler.dtype == torch.bfloat16
    assert (upscaler(image) - exact).abs().max() < 0.05


def test_bare_weights_by_options(edsr):
    file, _, options = edsr
    image = picture(9, 8)
    assert torch.equal(sst.load_model(file, 'cpu', network_g=options)(image), expected(network('EDSR')[0], image, 1))


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        (None, 'network_g'),  # nothing names the network
        ({'type': 'EDSRR'}, 'EDSR'),
        ({'num_feats': 8}, 'num_feat'),
        ({'num_feat': 16}, 'weights'),
        ({'num_in_ch': 'x'}, 'EDSR'),
        ({'type': 'SST'}, 'SST'),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_one_line(edsr, changes, word):
    file, _, options = edsr
    with pytest.raises(UserError, match=rf'^[^\n]*{file.name}[^\n]*{word}[^\n]*$'):
        sst.load_model(file, 'cpu', network_g=changes and options | changes)


def test_options_against_the_file_are_refused(tmp_path):
    net, options = network('EDSR')
    file = sst.save_pretrained(net, tmp_path / 'net.safetensors', network_g=options)
    assert sst.load_model(file, 'cpu', network_g=options).scale == 3
    with pytest.raises(UserError, match='num_block'):
        sst.load_model(file, 'cpu', network_g=options | {'num_block': 2})


def one_channel():
    return build_network({'type': 'ECBSR', **NETWORKS['ECBSR'], 'num_in_ch': 1, 'num_out_ch': 1})


class Answers(torch.nn.Module):
    """A network that answers with what a function makes of its picture."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, lr):
        return self.function(lr)


UNFIT = {
    'one channel': one_channel,
    'range of 0 to 255': lambda: Answers(lambda lr: 255 * lr),
    'no numbers': lambda: Answers(lambda lr: lr / 0 * 0),
    'half the size': lambda: Answers(lambda lr: lr[..., ::2, ::2]),
    'another size': lambda: Answers(lambda lr: torch.nn.functional.pad(lr, (0, 3))),
    'several answers': lambda: Answers(lambda lr: (lr, lr)),
}


@pytest.mark.parametrize('net', UNFIT.values(), ids=UNFIT)
def test_networks_that_enlarge_no_rgb_are_refused(net):
    with pytest.raises(UserError, match=r'^[^\n]+$'):
        sst.Upscaler(net(), 'cpu')


def test_saving_needs_options_that_are_known(tmp_path):
    net, options = network('EDSR')
    with pytest.raises(TypeError, match='network_g'):
        sst.save_pretrained(net, tmp_path / 'net.safetensors')
    with pytest.raises(UserError, match='EDSRR'):
        sst.save_pretrained(net, tmp_path / 'net.safetensors', network_g=options | {'type': 'EDSRR'})
    assert list(tmp_path.iterdir()) == []


# ---- the programs


def test_programs_take_an_option_file(edsr, tmp_path, capsys):
    file, options, _ = edsr
    Image.fromarray(np.full((8, 9, 3), 90, np.uint8)).save(tmp_path / 'a.png')
    command = ['-n', str(file), '--device', 'cpu', str(tmp_path / 'a.png'), '-o', str(tmp_path / 'b.png')]
    with pytest.raises(SystemExit) as stop:
        upscale.main(command)
    assert stop.value.code == 2
    assert '--network' in capsys.readouterr().err
    assert upscale.main([*command, '--network', str(options)]) == 0
    assert Image.open(tmp_path / 'b.png').size == (27, 24)
    capsys.readouterr()
    assert info.main(['--json', str(file), '--network', str(options)]) == 0
    (about,) = json.loads(capsys.readouterr().out)
    assert (about['model'], about['scale'], about['network_g']['num_feat']) == ('EDSR', 3, 8)


def test_an_option_file_tells_the_windows_of_released_weights(tmp_path):
    net = SST(**tiny_options())
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    options = {'network_g': {'type': 'SST', **tiny_options()}}
    (tmp_path / 'net.yml').write_text(yaml.safe_dump(options))
    from sst.checkpoints.networks import network_in_options

    again = sst.from_pretrained(tmp_path / 'net.pth', network_g=network_in_options(tmp_path / 'net.yml'))
    assert again.options == net.options


@pytest.mark.parametrize('content', ['a: [', 'name: x', 'network_g: {num_feat: 3}', None], ids=str)
def test_option_files_without_a_network_are_refused(edsr, tmp_path, capsys, content):
    if content:
        (tmp_path / 'bad.yml').write_text(content)
    with pytest.raises(SystemExit) as stop:
        info.main([str(edsr[0]), '--network', str(tmp_path / 'bad.yml')])
    assert stop.value.code == 2
    assert 'bad.yml' in capsys.readouterr().err


@pytest.mark.parametrize('kind', ['EDSR', 'RRDBNet', 'SwinIR'])
def test_onnx(tmp_path, capsys, kind):
    pytest.importorskip('onnxscript')
    onnxruntime = pytest.importorskip('onnxruntime')
    import export_onnx

    net, options = network(kind)
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    (tmp_path / 'net.yml').write_text(yaml.safe_dump({'network_g': options}))
    export_onnx.main(
        [str(tmp_path / 'net.pth'), '-o', str(tmp_path / 'net.onnx'), '--network', str(tmp_path / 'net.yml')]
    )
    session = onnxruntime.InferenceSession(tmp_path / 'net.onnx', providers=['CPUExecutionProvider'])
    upscaler = sst.Upscaler(net, 'cpu')
    for size in ((19, 33), (1, 1), (8, 24)):
        image = picture(*size)
        sr = torch.from_numpy(session.run(['sr'], {'lr': image.numpy()})[0])
        assert (sr.clamp(0, 1) - upscaler(image)).abs().max() < 1e-4


# ---- somebody's own network, and what a file may choose

OWN = """\
from pathlib import Path
import torch
from basicsr.utils.registry import ARCH_REGISTRY

Path('ran').open('a').write('x')

@ARCH_REGISTRY.register()
class Own{number}(torch.nn.Module):
    def __init__(self, scale=2):
        super().__init__()
        self.up = torch.nn.Sequential(torch.nn.Conv2d(3, 3 * scale**2, 3, padding=1), torch.nn.PixelShuffle(scale))

    def forward(self, lr):
        return self.up(lr)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a network of somebody's own, not imported, and a file of its weights; both in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))  # without the folders of other tests
    sys.modules.pop('own', None)
    number = abs(hash(tmp_path))
    Path('own.py').write_text(OWN.replace('{number}', str(number)))
    convolution = torch.nn.Conv2d(3, 12, 3)
    state = {f'up.0.{name}': value for name, value in convolution.state_dict().items()}
    return f'Own{number}', state


def test_imports_name_the_module_of_an_own_network(own, capsys):
    kind, state = own
    torch.save({'params': state, 'network_g': {'type': kind, 'scale': 2}}, 'net.pth')
    with pytest.raises(UserError, match='imports'):
        sst.load_model('net.pth')
    assert not Path('ran').exists()
    for _ in range(2):  # once per process
        assert sst.load_model('net.pth', 'cpu', imports=['own.py']).scale == 2
    assert Path('ran').read_text() == 'x'
    Image.new('RGB', (4, 4)).save('a.png')
    assert upscale.main(['-n', 'net.pth', '--device', 'cpu', 'a.png', '-o', 'b.png', '--imports', 'own.py']) == 0
    assert info.main(['net.pth', '--imports', 'own.py']) == 0
    assert kind in capsys.readouterr().out
    with pytest.raises(UserError, match=r'^[^\n]*none\.py[^\n]*$'):
        sst.load_model('net.pth', imports=['none.py'])


def test_an_option_file_that_is_named_may_import(own):
    kind, state = own
    torch.save(state, 'bare.pth')
    Path('own.yml').write_text(yaml.safe_dump({'imports': ['own.py'], 'network_g': {'type': kind}}))
    assert info.main(['bare.pth', '--network', 'own.yml']) == 0
    assert Path('ran').exists()


@pytest.mark.usefixtures('own')
@pytest.mark.parametrize('place', ['top', 'network_g', 'metadata', 'config.json', 'header'])
def test_a_file_never_imports(place):
    options = {'type': 'SST', **tiny_options()}
    net = SST(**tiny_options())
    imports = {'imports': ['own.py']}
    if place in ('config.json', 'header'):
        sst.save_pretrained(net, 'folder', imports)
        config = json.loads(Path('folder/config.json').read_text()) | imports
        Path('folder/config.json').write_text(json.dumps(config))
    else:
        content = {'params': net.state_dict(), 'network_g': options, 'metadata': {}}
        (content if place == 'top' else content[place]).update(imports)
        torch.save(content, 'folder')
    if place == 'network_g':
        with pytest.raises(UserError, match='imports'):
            sst.load_model('folder')
    else:
        sst.load_model('folder', 'cpu')
    info.main(['folder'])
    assert not Path('ran').exists()


SPYNET = {'type': 'SpyNet', 'load_path': 'x.pth'}
READING = [
    (SPYNET, {}),
    (SPYNET, {'type': 'SpyNet'}),
    ({'type': 'VGGFeatureExtractor', 'layer_name_list': ['conv5_4']}, {}),
    ({'type': 'SwinIR', 'upscale': 2, 'upsampler': '/etc/passwd'}, {}),
]


@pytest.mark.parametrize(('options', 'given'), READING, ids=str)
def test_a_file_chooses_no_network_that_reads_others(tmp_path, monkeypatch, options, given):
    built = []
    cls = ARCH_REGISTRY.get(options['type'])
    noted = functools.wraps(cls.__init__)(lambda self, *_, **__: built.append(self))
    monkeypatch.setattr(cls, '__init__', noted)
    torch.save({'params': {'a.weight': torch.zeros(2)}, 'network_g': options}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match='network_g='):
        sst.from_pretrained(tmp_path / 'net.pth', network_g=given)
    assert built == []
