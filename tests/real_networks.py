"""SSTReal for tests: its golden case, and small networks with all their weights far from zero."""

import json

import numpy as np
import torch
from helpers import tiny_real_options
from released import FIXTURES

from sst.archs import SSTReal
from sst.interop.official import convert_state_dict, network_options


def golden_case():
    """Released weights and fields, and all inputs and outputs by name."""
    content = np.load(FIXTURES / 'sstreal_x4.npz')
    weights = {
        key.removeprefix('params/'): torch.from_numpy(content[key]) for key in content if key.startswith('params/')
    }
    arrays = {
        key: torch.from_numpy(content[key]) for key in content if not key.startswith('params/') and key != 'network'
    }
    return weights, json.loads(str(content['network'])), arrays


def golden_network(**changes) -> SSTReal:
    """The network of the golden case, in evaluation mode."""
    weights, fields, _ = golden_case()
    options = network_options(fields)
    net = SSTReal(**{key: value for key, value in (options | changes).items() if key != 'type'})
    net.load_state_dict(convert_state_dict(weights, options))
    return net.eval()


def lively(**changes) -> SSTReal:
    """A small network without weights that are zero at first, in training mode."""
    net = SSTReal(**tiny_real_options(**changes))
    for block in net.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
        torch.nn.init.normal_(block.modulation.bias, std=0.3)
        torch.nn.init.uniform_(block.gamma, 0.2, 0.5)
    return net
