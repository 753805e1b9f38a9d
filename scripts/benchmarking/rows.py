"""What is measured: the rows of the table, and what is known of each before it is run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from typing import Any

import torch

from benchmarking.costs import TRAINING, Ceilings, count_multiply_adds, floor, multiply_adds
from benchmarking.models import load_network
from benchmarking.published import PublishedSST
from sst.archs import SST
from sst.ops import UnsupportedBackendError

# fast: as sst/train.py and sst/test.py compute; compiled: the same through torch.compile; published: see published.py.
# In inference alone, fused: with fused=True of SST.optimize_for_inference; graphed: replayed as a CUDA graph.
MODES = ('fast', 'compiled', 'fused', 'graphed', 'fused+graphed', 'published')
TASKS = ('inference', 'training')
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}
AUTO_DTYPES = {('cuda', 'inference'): 'float16', ('cuda', 'training'): 'bfloat16'}  # elsewhere float32


@dataclass(frozen=True)
class Row:
    """One way to compute one network: everything that a process needs to measure it.

    `dtype` is that of maps and weights in inference and of autocast in training, `height` and `width` those of the LR
    pictures, `repeats` how often is measured, `seconds` when to stop before that (after two at the least).
    """

    model: str
    scale: int
    mode: str
    backend: str
    dtype: str
    task: str
    batch: int
    height: int
    width: int
    device: str
    repeats: int
    seconds: float

    @property
    def name(self) -> str:
        way = self.mode if self.mode == 'published' else f'{self.mode} {self.backend} {self.dtype}'
        return f'{self.model} x{self.scale} {self.task} {way}'

    @property
    def pixels(self) -> int:
        return self.batch * self.height * self.width

    @property
    def training(self) -> bool:
        return self.task == 'training'

    @property
    def inference_kwargs(self) -> dict[str, Any]:
        """Keywords of `SST.optimize_for_inference`. Inputs of any size are graphed: that shows where it is in vain."""
        parts = self.mode.split('+')
        graphs = 2**31 if 'graphed' in parts else 0
        return {'dtype': DTYPES[self.dtype], 'fused': 'fused' in parts, 'graphs': graphs}

    def network(self) -> dict[str, Any]:
        """`network_g`, with the row's backend. Attention computes in the dtype of the maps or as the default says."""
        return load_network(self.model, self.scale) | {'backend': self.backend, 'attention_dtype': 'auto'}


@dataclass(frozen=True)
class Workload:
    """The sizes to measure at: of the SR picture in inference, of the LR patches in training (None: as published)."""

    output: tuple[int, int]  # width, height
    batch: int
    patch: int | None = None


def plan(
    models: Sequence[str],
    scales: Sequence[int],
    modes: Sequence[str],
    backends: Sequence[str],
    dtypes: Sequence[str],
    tasks: Sequence[str],
    workload: Workload,
    **common: Any,
) -> list[Row]:
    """All combinations, the published style once per model, scale and task: it has one backend and one dtype.

    Args:
        models, scales, modes, backends, dtypes, tasks (Sequence): what is combined; dtype `auto` is float32 on the
            CPU, on CUDA float16 in inference and bfloat16 in training.
        workload (Workload): the sizes.
        **common: `device`, `repeats` and `seconds` of every row.

    Raises:
        UserError: there is no such model, or its options are faulty.
    """
    rows = []
    for model, scale, task in product(models, scales, tasks):
        windows = load_network(model, scale)['window_sizes']
        if task == 'training':
            height = width = workload.patch or (96 if max(windows) > 64 else 64)
        else:
            width, height = (-(-side // scale) for side in workload.output)
        batch = workload.batch if task == 'training' else 1
        for mode, backend, dtype in _ways(modes, backends, dtypes, common['device'], task):
            rows.append(Row(model, scale, mode, backend, dtype, task, batch, height, width, **common))
    return list(dict.fromkeys(rows))  # on the CPU auto and float32 are one


def _ways(
    modes: Sequence[str], backends: Sequence[str], dtypes: Sequence[str], device: str, task: str
) -> Iterator[tuple[str, str, str]]:
    for mode in modes:
        if mode == 'published':
            yield mode, 'sdpa', 'float32'
            continue
        for backend, dtype in product(backends, dtypes):
            yield mode, backend, AUTO_DTYPES.get((device, task), 'float32') if dtype == 'auto' else dtype


def obstacle(row: Row) -> str | None:
    """Why a row cannot be computed, or None.

    Raises:
        UserError: the network's options are faulty.
    """
    with torch.device('meta'):
        net = SST(**row.network())
    kwargs, device = row.inference_kwargs, torch.device(row.device)
    if row.training and (kwargs['fused'] or kwargs['graphs']):
        return f'mode {row.mode} is for inference; take --tasks inference'
    try:
        net.check_backend(device, DTYPES[row.dtype])
        net.check_inference(device, **kwargs)
    except UnsupportedBackendError as reason:
        return str(reason).splitlines()[0]
    return None


def known(row: Row, ceilings: Ceilings) -> dict[str, Any]:
    """The network's options and what follows: parameters, multiply-adds of the batch, floor in seconds.

    `multiply_adds` are by formula, `multiply_adds_as_published` what torch counts in the published style, v padded.
    A training step counts three forward passes: torch's counter miscounts the backward pass of depthwise convolutions.
    """
    network = row.network()
    times = row.batch * (TRAINING if row.training else 1)
    parameters, counted = _counted(row.model, row.scale, row.height, row.width)
    least = floor(network, row.pixels, ceilings, training=row.training)
    return {
        'network': network,
        'parameters': parameters,
        'multiply_adds': times * multiply_adds(network, row.height, row.width).total,
        'multiply_adds_as_published': times * counted,
        'floor': least.total,
        'floor_parts': asdict(least),
    }


@cache
def _counted(model: str, scale: int, height: int, width: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of one LR picture in the published style as torch counts them."""
    with torch.device('meta'):
        net = PublishedSST(load_network(model, scale))
    return sum(parameter.numel() for parameter in net.parameters()), count_multiply_adds(net, height, width)
