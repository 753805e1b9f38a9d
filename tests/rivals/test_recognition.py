"""Files of the rivals: recognised by their weights, built, described, and refused where another size was asked for."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import on_meta

import sst
from sst import info
from sst.checkpoints.pretrained import MissingOptionsError
from sst.options.registries import NETWORKS
from sst.rivals.recognition import Published, recognised
from sst.rivals.sizes import PUBLISHED, published
from sst.utils.errors import UserError


def state_of(name, scale, **changes):
    options = published(name, scale) | changes
    return on_meta(NETWORKS[options.pop('type')], **options).state_dict()


@pytest.mark.parametrize('name', PUBLISHED)
def test_recognised_at_each_scale(name):
    for scale in (2, 3, 4):
        state = state_of(name, scale)
        state['layers.0.attn_mask'] = state['x.relative_position_index_SA'] = torch.zeros(3)
        assert recognised(state) == [Published(name, scale)]


def test_no_other_network_is_recognised():
    assert recognised(state_of('PFT-light', 2, embed_dim=40, num_heads=5)) == []
    assert recognised(sst.from_pretrained('SST-tiny-x2').state_dict()) == []


@pytest.fixture(scope='module')
def esc(tmp_path_factory):
    """A file of ESC-light at x3 as its authors publish it, and its network."""
    options = published('ESC-light', 3)
    torch.manual_seed(1)
    net = NETWORKS[options.pop('type')](**options).eval()
    file = tmp_path_factory.mktemp('files') / 'ESC_x3.pth'
    torch.save({'params': net.state_dict(), 'params_ema': net.state_dict()}, file)
    return file, net


def test_a_published_file_loads_as_it_is(esc):
    file, net = esc
    image = picture(20, 33)
    with torch.no_grad():  # in the published test, too, the image is extended to whole windows first
        expected = net(torch.nn.functional.pad(image, (0, 31, 0, 12), 'reflect'))[..., :60, :99].clamp(0, 1)
    assert_close(sst.load_model(file, 'cpu')(image), expected, 1e-6)


def test_info_names_the_model(esc, capsys):
    assert info.main([str(esc[0])]) == 0
    shown = capsys.readouterr().out
    assert 'ESC-light' in shown
    assert 'x3' in shown


@pytest.mark.parametrize(
    ('name', 'scale', 'told'),
    [
        ('ESC-light', 2, ['upscaling_factor is 3 in the file, 2 in network_g']),
        ('ESC', 3, ['is 3 in the file, 5 in network_g']),
        ('ELAN-light', 3, ['ESC-light at x3']),
    ],
)
def test_another_size_or_scale_says_what_differs(esc, name, scale, told):
    with pytest.raises(UserError) as refused:
        sst.from_pretrained(esc[0], network_g=published(name, scale))
    assert all(text in str(refused.value) for text in told), refused.value


def test_a_size_of_ones_own_says_which_scale_differs(tmp_path):
    options = {'type': 'RDN', 'scale': 2, 'G0': 8, 'D': 1, 'C': 2, 'G': 4}
    arguments = {key: value for key, value in options.items() if key != 'type'}
    torch.save(NETWORKS['RDN'](**arguments).state_dict(), tmp_path / 'net.pth')
    with pytest.raises(UserError, match='scale is 2 in the file, 3 in network_g'):
        sst.from_pretrained(tmp_path / 'net.pth', network_g=options | {'scale': 3})
    with pytest.raises(MissingOptionsError, match='RDN'):
        sst.from_pretrained(tmp_path / 'net.pth')


def test_weights_of_two_published_networks_are_asked_about(esc, monkeypatch):
    monkeypatch.setitem(PUBLISHED, 'ESC-twin', PUBLISHED['ESC-light'])
    with pytest.raises(MissingOptionsError, match='ESC-light at x3 or ESC-twin at x3'):
        sst.from_pretrained(esc[0])
    assert sst.from_pretrained(esc[0], network_g=published('ESC-light', 3)).scale == 3
