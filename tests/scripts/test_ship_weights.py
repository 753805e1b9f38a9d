import pytest
import torch
from helpers import picture, tiny_options

import sst
from ship_weights import main, scale_stream
from sst.archs import SST
from sst.checkpoints.description import describe
from sst.utils.errors import UserError


def test_the_size_of_the_stream_changes_no_picture():
    net = SST(**tiny_options()).eval()
    scale_stream(net, 1000.0)  # far above LayerNorm's epsilon
    lr = picture(20, 25)
    with torch.no_grad():
        expected = net(lr)
        scale_stream(net, 1 / 16)
        assert (net(lr) - expected).abs().max() < 1e-5


def test_other_upsamplers_are_refused():
    net = SST(**tiny_options(upsampler={'type': 'pixelshuffle', 'channels': 8}))
    with pytest.raises(UserError, match='the upsampler is pixelshuffle, not pixelshuffle_direct'):
        scale_stream(net, 0.5)


def test_a_checkpoint_becomes_weights_that_are_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('ship_weights.FOLDER', tmp_path)
    monkeypatch.setattr('sst.checkpoints.sources.FOLDER', tmp_path)
    net = SST(**tiny_options())
    content = {'params': net.state_dict(), 'network_g': net.options, 'metadata': {'run': 'mine', 'iteration': 7}}
    torch.save(content, tmp_path / 'net.pth')
    command = [str(tmp_path / 'net.pth'), 'Mine-x2', '--training-data', 'DIV2K', '--licence', 'CC0']
    main([*command, '--stream-scale', '1/4'])
    about = describe(tmp_path / 'Mine-x2.safetensors')
    assert about['metadata'] == {
        'name': 'Mine-x2',
        'training_data': 'DIV2K',
        'licence': 'CC0',
        'run': 'mine',
        'iteration': 7,
        'stream_scale': '1/4 of what was trained, so that float16 holds it',
    }
    assert sst.load_model('mine-X2', 'cpu').scale == 2
    with pytest.raises(SystemExit) as end:
        main(['nothing.pth', *command[1:]])
    assert end.value.code == 2
    assert 'nothing.pth' in capsys.readouterr().err
