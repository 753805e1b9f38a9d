"""The command line of the web demo, and what is said where the page cannot be shown."""

import socket
import sys

import pytest
from helpers import tiny_options

import sst
from sst.archs import SST
from sst.checkpoints import sources
from sst.demo import main
from sst.upscaling.web.arguments import parse
from sst.upscaling.web.models import load_models


@pytest.fixture
def file(tmp_path):
    return sst.save_pretrained(SST(**tiny_options()), tmp_path / 'Tiny-x2.safetensors')


def error(capsys, *argv):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in argv])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_only_this_computer_unless_told_otherwise():
    args = parse([])
    assert (args.host, args.port, args.models) == ('127.0.0.1', 7860, [])
    assert parse(['--model', 'a', '--model', 'b', '--port', '0']).models == ['a', 'b']


@pytest.mark.parametrize(
    ('argv', 'named'),
    [
        (['--port', '70000'], ('--port', "'70000'", '65535')),
        (['--port', '80x'], ('--port', "'80x'")),
        (['--max-megapixels', '0'], ('--max-megapixels', "'0'", '400')),
        (['--max-megapixels', 'nan'], ('--max-megapixels', "'nan'")),
        (['--dtype', 'int8'], ('--dtype', "'int8'", 'float16')),
        (['--share'], ('--share',)),
    ],
    ids=str,
)
def test_bad_values(capsys, argv, named):
    said = error(capsys, *argv)
    assert all(word in said for word in named)


def test_no_weights_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, 'FOLDER', tmp_path)
    said = error(capsys)
    assert said.startswith('error: no weights ship with this installation')
    assert '--model FILE' in said
    assert len(said.splitlines()) == 1


def test_weights_that_are_not_there(capsys):
    assert error(capsys, '--model', 'none.pth').startswith('error: none.pth: no such file')


@pytest.mark.parametrize('device', ['tpu', 'cuda:77', 'meta'])
def test_devices_that_are_not_there(file, capsys, device):
    assert error(capsys, '--model', file, '--device', device).startswith(f'error: --device {device}: ')


def test_without_gradio(file, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert "pip install 'sst-sr[demo]'" in error(capsys, '--model', file)


def test_a_port_that_is_taken(file, capsys):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        said = error(capsys, '--model', file, '--device', 'cpu', '--port', port)
    assert said.startswith(f'error: port {port} cannot be used (Address already in use); try --port ')
    free = int(said.split()[-1])
    with socket.create_server(('127.0.0.1', free)):
        pass


def test_an_address_of_another_computer(file, capsys):
    said = error(capsys, '--model', file, '--device', 'cpu', '--host', '192.0.2.1')
    assert said.startswith('error: --host 192.0.2.1: cannot be listened on')


def test_given_weights_come_first_and_every_name_once(file, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'FOLDER', file.parent)
    other = sst.save_pretrained(SST(**tiny_options(scale=3)), tmp_path / 'other' / 'Tiny-x2.safetensors')
    models = load_models([str(other)], 'cpu', None)
    assert {name: upscaler.scale for name, upscaler in models.items()} == {'Tiny-x2': 3, 'Tiny-x2 (2)': 2}
    assert list(load_models(['tiny-x2'], 'cpu', None)) == ['tiny-x2']
