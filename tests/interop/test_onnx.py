"""The ONNX model gives what the network gives, at sizes that it was not exported with."""

import json

import pytest
import torch
from helpers import picture, tiny_escrib, tiny_options

from sst.archs import ESCRIB, SST
from sst.inference import padded
from sst.interop.onnx import export_onnx
from sst.utils.errors import UserError

pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')


def run(path, image):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return torch.from_numpy(session.run(['sr'], {'lr': image.numpy()})[0])


def lively(**options):
    """A network at whose weights a missing bias or gate shows: as initialised, attention adds next to nothing."""
    net = SST(**tiny_options(**options)).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return net


def difference(net, path, *size):
    image = picture(*size)
    with torch.no_grad():
        expected = net(image)
    got = run(path, image)
    assert got.shape == expected.shape
    return (got - expected).abs().max().item()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    torch.manual_seed(1)
    net = lively(window_sizes=[6, 6])  # the second layer's windows are shifted
    path = tmp_path_factory.mktemp('onnx') / 'net.onnx'
    export_onnx(net, path)
    return net, path


@pytest.mark.parametrize('size', [(24, 36), (17, 31), (1, 50), (1, 1), (2, 3), (5, 4, 3)], ids=str)
def test_every_size(exported, size):
    assert difference(*exported, *size) <= 1e-4


VARIANTS = [
    {'window_sizes': [4, 16], 'bias': {'type': 'SIREN', 'ranks': 3, 'hidden': 8}},
    {'bias': {'type': 'RPB'}, 'gate': 'pointwise', 'upsampler': {'type': 'pixelshuffle', 'channels': 8}, 'scale': 3},
    {'bias': {'type': 'RoPE'}, 'gate': 'none', 'upsampler': {'type': 'nearest_conv', 'channels': 6}, 'scale': 4},
    {'bias': {'type': 'CPE'}, 'num_blocks': 1},
]


@pytest.mark.parametrize('options', VARIANTS, ids=lambda options: options['bias']['type'])
def test_every_part(tmp_path, options):
    net = lively(**{'num_blocks': 1} | options)
    export_onnx(net, tmp_path / 'net.onnx')
    assert max(difference(net, tmp_path / 'net.onnx', *size) for size in [(8, 16), (13, 9), (3, 1)]) <= 1e-3


def test_escrib_extends_images_to_whole_windows(tmp_path):
    for pads in (True, False):
        net = ESCRIB(**tiny_escrib(num_blocks=1, pad_to_window=pads, scale=3, window_size=32)).eval()
        with torch.no_grad():
            for weight in net.parameters():
                weight += 0.1 * torch.randn_like(weight)
        export_onnx(net, tmp_path / 'net.onnx')
        for size in [(64, 32), (37, 9), (3, 1)]:
            image = picture(*size)
            with torch.no_grad():
                expected = padded(net, image, scale=3, multiple=32 if pads else 1)
            assert (run(tmp_path / 'net.onnx', image) - expected).abs().max() <= 1e-3


def test_a_network_in_half_precision_is_exported_in_float32_and_left_as_it_is(tmp_path):
    net = SST(**tiny_options(num_blocks=1)).optimize_for_inference(torch.float16)
    export_onnx(net, tmp_path / 'net.onnx')
    assert net.stem.weight.dtype == torch.float16
    assert run(tmp_path / 'net.onnx', picture(7, 9)).dtype == torch.float32


def test_the_file_tells_its_scale(exported):
    net, path = exported
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    texts = session.get_modelmeta().custom_metadata_map
    assert texts['scale'] == '2'
    assert json.loads(texts['network_g'])['window_sizes'] == list(net.options['window_sizes'])
    assert [value.shape for value in session.get_inputs()] == [['batch', 3, 'height', 'width']]


def test_an_old_opset_is_refused(tmp_path):
    with pytest.raises(UserError, match='11'):
        export_onnx(SST(**tiny_options()), tmp_path / 'net.onnx', opset=11)
    assert not (tmp_path / 'net.onnx').exists()


def test_a_folder_that_is_not_there_is_one_line(exported, tmp_path):
    with pytest.raises(UserError, match=r'cannot write .*none/net\.onnx: No such file'):
        export_onnx(exported[0], tmp_path / 'none' / 'net.onnx')


@pytest.mark.parametrize('windows', [['8', '8'], ['8,8'], ['8']], ids=' '.join)
def test_the_program_takes_windows_as_sst_upscale_does(tmp_path, monkeypatch, windows):
    import export_onnx as program

    found = []
    monkeypatch.setattr(program, 'export_onnx', lambda net, path, opset: found.append(net) or path.touch())
    torch.save(SST(**tiny_options(window_sizes=[8, 8])).state_dict(), tmp_path / 'net.pth')
    program.main([str(tmp_path / 'net.pth'), '-o', str(tmp_path / 'net.onnx'), '--window-sizes', *windows])
    assert found[0].options['window_sizes'] == (8, 8)


def test_the_program_ends_in_one_line(tmp_path, capsys):
    import export_onnx as program

    with pytest.raises(SystemExit) as end:
        program.main([str(tmp_path / 'none.pth'), '-o', str(tmp_path / 'net.onnx')])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize('folder', ['file', 'file/folder'])
def test_the_folder_is_tried_before_the_weights_are_read(tmp_path, capsys, folder):
    import export_onnx

    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as end:
        export_onnx.main(['nothing.pth', '-o', str(tmp_path / folder / 'net.onnx')])
    assert end.value.code == 2
    assert str(tmp_path / folder) in capsys.readouterr().err
