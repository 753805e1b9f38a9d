"""Measures one model in a process of its own: what it costs by count, and its time and memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarking.costs import count_multiply_adds, multiply_adds
from benchmarking.measure import timed
from benchmarking.rows import DTYPES, Row
from sst.archs import SST, WindowNetwork
from sst.checkpoints.networks import built
from sst.inference.apply import build_predictor
from sst.utils.errors import UserError
from standings.entries import Entry

COUNTED = (1280, 720)  # width and height of the SR image that multiply-adds are counted for, as in the paper


def work(task: dict[str, Any]) -> dict[str, Any]:
    """What a worker process does. {'refused': reason} where memory does not suffice or the options are faulty."""
    row = Row(**task['row'])
    try:
        return costs(row) if task['what'] == 'costs' else measured(row)
    except torch.OutOfMemoryError:
        return {'refused': 'out of memory'}
    except UserError as reason:
        return {'refused': ' '.join(str(reason).split())}


def costs(row: Row) -> dict[str, Any]:
    """Parameters, and multiply-adds of an SR image of `COUNTED`, on meta: nothing is computed.

    Torch counts them; those of SST follow from its formula, with v padded, as the paper counts them.
    """
    network = Entry(row.model, row.scale).options()['network_g']
    net = built(network, 'meta').eval()
    width, height = (-(-side // row.scale) for side in COUNTED)
    if isinstance(net, SST):
        count = multiply_adds(network, height, width, published=True).total
    else:
        count = count_multiply_adds(net, height, width)
    return {'parameters': sum(weight.numel() for weight in net.parameters()), 'multiply_adds': count}


def measured(row: Row) -> dict[str, Any]:
    """Seconds of each repetition and the memory that they needed (bytes), with random weights."""
    torch.manual_seed(0)
    options = Entry(row.model, row.scale).options('val:tile_grid=null')  # images are enlarged whole
    net = built(options['network_g'], row.device)
    if row.training:
        net.train()
    elif isinstance(net, WindowNetwork):
        net.optimize_for_inference(DTYPES[row.dtype])
    else:
        net = InHalf(net.eval().requires_grad_(False), options, row)
    times, memory = timed(row, net)
    return {'times': times, 'memory': memory}


class InHalf(nn.Module):
    """A network padded as its test says, under autocast where half precision is asked for."""

    def __init__(self, net: nn.Module, options: dict[str, Any], row: Row) -> None:
        super().__init__()
        self.net = net
        self.predict: Callable[[Tensor], Tensor] = build_predictor(net, options)
        self.row = row

    def forward(self, lr: Tensor) -> Tensor:
        dtype = DTYPES[self.row.dtype]
        with torch.autocast(self.row.device, dtype, enabled=dtype is not torch.float32):
            return self.predict(lr)
