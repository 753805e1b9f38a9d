"""Measures one model in a process of its own: what it costs by count, and its time and memory."""

from typing import Any

import torch

from benchmarking.costs import count_multiply_adds, multiply_adds
from benchmarking.measure import timed
from benchmarking.rivals import build_rival, on_meta
from benchmarking.rows import DTYPES, Row
from sst.archs import SST, SSTReal, WindowNetwork
from sst.checkpoints.networks import built
from sst.inference.one_step import OneStep
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

    Torch counts them; those of SST follow from its formula, with v padded, as the paper counts them. The image is
    extended to whole windows only for networks that take nothing else.
    """
    entry = Entry(row.model, row.scale)
    network = entry.options()['network_g']
    net = built(network, 'meta').eval()
    width, height = (-(-side // row.scale) for side in COUNTED)
    if isinstance(net, SST):
        count = multiply_adds(network, height, width, published=True).total
    else:
        try:
            count = count_multiply_adds(OneStep(net) if isinstance(net, SSTReal) else net, height, width)
        except RuntimeError:  # it takes whole windows only, as DRCT
            count = count_multiply_adds(on_meta(entry), height, width)
    return {'parameters': sum(weight.numel() for weight in net.parameters()), 'multiply_adds': count}


def measured(row: Row) -> dict[str, Any]:
    """Seconds of each repetition and the memory that they needed (bytes), with random weights."""
    torch.manual_seed(0)
    entry, dtype = Entry(row.model, row.scale), DTYPES[row.dtype]
    if entry.is_rival:
        net = build_rival(entry, row.device, dtype, training=row.training)
    else:
        net = built(entry.options()['network_g'], row.device)
    if row.training:
        net.train()
    elif isinstance(net, WindowNetwork):
        net.optimize_for_inference(dtype)
    times, memory = timed(row, net)
    return {'times': times, 'memory': memory}
