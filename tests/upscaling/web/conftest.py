"""What the tests of the running web demo share."""

import pytest
from helpers import tiny_options

import sst
from sst.archs import SST


@pytest.fixture(scope='session')
def weights(tmp_path_factory):
    """The demo's arguments for two small networks."""
    folder = tmp_path_factory.mktemp('weights')
    first = sst.save_pretrained(SST(**tiny_options()), folder / 'Tiny-x2.safetensors')
    second = sst.save_pretrained(SST(**tiny_options(scale=3)), folder / 'Tiny-x3.safetensors')
    return ('--model', str(first), '--model', str(second), '--device', 'cpu')


@pytest.fixture(scope='module')
def temporary(tmp_path_factory):
    """The folder for temporary files of programs that are started while it is used."""
    folder = tmp_path_factory.mktemp('temporary')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TMPDIR', str(folder))
        yield folder
