"""Golden cases of the rivals: random weights under the published names, an input, and the original's output."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sst  # noqa: F401 - registers the networks
from sst.options.registries import NETWORKS

FOLDER = Path(__file__).parents[1] / 'fixtures' / 'rivals'


class Case:
    """One golden case: its network with the published weights, in evaluation mode."""

    def __init__(self, name):
        with np.load(FOLDER / f'{name}.npz') as content:
            self.arrays = {key: content[key] for key in content.files}
        self.options = json.loads(str(self.arrays['network']))
        self.input, self.output = (torch.from_numpy(self.arrays[key]) for key in ('input', 'output'))
        arguments = dict(self.options)
        self.net = NETWORKS[arguments.pop('type')](**arguments).eval()
        state = {
            key.removeprefix('params/'): torch.from_numpy(value)
            for key, value in self.arrays.items()
            if key.startswith('params/')
        }
        own = self.net.state_dict()
        missing = own.keys() - state.keys()
        assert not missing, f'weights without published values: {sorted(missing)[:5]}'
        self.net.load_state_dict({key: value for key, value in state.items() if key in own})
        self.unused = state.keys() - own.keys()  # index and mask buffers may be among them, weights must not


@pytest.fixture
def case():
    return Case
