"""The program in a folder of its own, with a small network."""

import pytest
import torch
from helpers import tiny_options

import sst
from sst.archs import SST
from sst.upscale import main


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    torch.manual_seed(3)
    net = SST(**tiny_options(num_blocks=1))
    return sst.save_pretrained(net, tmp_path_factory.mktemp('weights') / 'net.safetensors')


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def upscale(place, weights, capsys):
    """Run the program; exit code, lines of stdout, lines of stderr."""

    def run(*arguments, model=True):
        try:
            code = main(['--device', 'cpu', *(['-n', str(weights)] if model else []), *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return run
