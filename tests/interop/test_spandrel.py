"""SST files through spandrel's own loader."""

import pytest
import torch
from helpers import picture, tiny_options
from released import golden

from sst.archs import SST
from sst.checkpoints.pretrained import MissingOptionsError, save_pretrained

spandrel = pytest.importorskip('spandrel')

from sst.interop.spandrel import SSTArch, install, is_sst  # noqa: E402  # not without spandrel


@pytest.fixture
def registry(monkeypatch):
    """spandrel's main registry, which is to forget SST afterwards."""
    for name, value in vars(spandrel.MAIN_REGISTRY).items():
        monkeypatch.setattr(spandrel.MAIN_REGISTRY, name, value)


def load(path):
    return spandrel.ModelLoader().load_from_file(path)


VARIANTS = [
    {},
    {'window_sizes': [4, 8]},
    {'bias': {'type': 'RPB'}, 'gate': 'none', 'scale': 4},
    {'bias': {'type': 'CPE'}, 'upsampler': {'type': 'nearest_conv', 'channels': 6}, 'scale': 3},
]


@pytest.mark.parametrize('options', VARIANTS, ids=['RIB', 'other windows', 'RPB', 'CPE'])
def test_our_files(registry, tmp_path, options):
    install()
    net = SST(**tiny_options(**options)).eval()
    model = load(save_pretrained(net, tmp_path / 'net.safetensors'))
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert (model.architecture.id, model.scale, model.purpose) == ('SST', net.scale, 'SR')
    assert model.model.options['window_sizes'] == net.options['window_sizes']
    image = picture(9, 14)
    with torch.no_grad():
        assert torch.equal(model(image), net(image).clamp(0, 1))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(registry, tmp_path, dtype):
    install()
    net = SST(**tiny_options()).eval()
    model = load(save_pretrained(net, tmp_path / 'net.safetensors')).to(dtype)
    image = picture(9, 14)
    with torch.no_grad():
        assert (model(image.to(dtype)).float() - net(image).clamp(0, 1)).abs().max() < 0.02


def test_released_windows_are_asked_for(registry, tmp_path):
    install()
    weights, options, image, expected = golden('light_x2')
    torch.save(
        {'params': {key: 0 * value for key, value in weights.items()}, 'params_ema': weights}, tmp_path / 'r.pth'
    )
    with pytest.raises(MissingOptionsError, match='window_sizes.*SSTArch'):
        load(tmp_path / 'r.pth')
    state = spandrel.ModelLoader().load_state_dict_from_file(tmp_path / 'r.pth')
    model = SSTArch(window_sizes=options['window_sizes']).load(state)
    with torch.no_grad():
        assert (model(image) - expected.clamp(0, 1)).abs().max() < 1e-5


def test_who_is_an_sst():
    weights, _, _, _ = golden('base_x3')
    assert is_sst(weights)
    assert is_sst(SST(**tiny_options()).state_dict())
    assert not is_sst({'stem.weight': torch.zeros(3), 'norm.weight': torch.zeros(3)})
    assert not is_sst(torch.nn.Linear(2, 2).state_dict())


def test_others_are_not_taken_for_an_sst(registry):
    """SwinIR is found as before."""
    install()
    from spandrel.architectures.SwinIR import SwinIR

    net = SwinIR(depths=[2], embed_dim=12, num_heads=[2], window_size=8, upscale=2, upsampler='pixelshuffledirect')
    assert spandrel.ModelLoader().load_from_state_dict(net.state_dict()).architecture.id == 'SwinIR'


def test_install_twice(registry):
    assert len(install()) == 1
    assert install(ignore_duplicates=True) == []
    with pytest.raises(spandrel.DuplicateArchitectureError):
        install()
