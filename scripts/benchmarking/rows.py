"""What is measured: the rows of the table, and what is known of each before it is run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from typing import Any

import torch

from benchmarking.costs import TRAINING, Ceilings, count_multiply_adds, floor, multiply_adds
from benchmarking.published import PublishedSST
from benchmarking.rivals import on_meta
from sst.archs import SST
from sst.interop.onnx import require_packages
from sst.ops import UnsupportedBackendError, check_fused_training
from sst.utils.errors import UserError
from standings.entries import Entry

# fast: as sst/train.py and sst/test.py compute; compiled: the same through torch.compile; published: see published.py.
# fused: with fused=True of SST.optimize_for_inference, or with train.fused_layers. In inference alone, graphed: as a
# CUDA graph; onnx: by ONNX Runtime on the CPU, from our own export.
MODES = ('fast', 'compiled', 'fused', 'graphed', 'fused+graphed', 'published', 'onnx')
ONE_WAY = {'published': ('sdpa', 'float32'), 'onnx': ('', 'float32')}  # backend and dtype, of modes that have only one
TASKS = ('inference', 'training')
DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}
AUTO_DTYPES = {('cuda', 'inference'): 'float16', ('cuda', 'training'): 'bfloat16'}  # elsewhere float32


def way(mode: str, backend: str, dtype: str) -> str:
    """How a row is computed, in words."""
    return ' '.join(filter(None, (mode, backend, dtype)))


@dataclass(frozen=True)
class Row:
    """One way to compute one network: everything that a process needs to measure it.

    `backend` is empty where SST's attention is not called: in ONNX Runtime and in rivals. `dtype` is that of maps and
    weights in inference and of autocast in training and in rivals, `height` and `width` are those of the LR pictures,
    `repeats` how often is measured, `seconds` when to stop before that (after two at the least).
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
        return f'{self.model} x{self.scale} {self.task} {way(self.mode, self.backend, self.dtype)}'

    @property
    def entry(self) -> Entry:
        return Entry(self.model, self.scale)

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
        """`network_g`, of an SST with the row's backend. Attention computes in the dtype of the maps or as the default
        says."""
        network = self.entry.options()['network_g']
        return (
            network if self.entry.is_rival else network | {'backend': self.backend or 'auto', 'attention_dtype': 'auto'}
        )


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
    """All combinations. The modes of `ONE_WAY` come once per model, scale and task. A rival has mode `fast` alone,
    whatever modes are named, and no backend.

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
        entry = Entry(model, scale)
        if task == 'training':
            height = width = workload.patch or _published_patch(entry)
        else:
            width, height = (-(-side // scale) for side in workload.output)
        batch = workload.batch if task == 'training' else 1
        chosen = (('fast',), ('',)) if entry.is_rival else (modes, backends)
        for mode, backend, dtype in _ways(*chosen, dtypes, common['device'], task):
            rows.append(Row(model, scale, mode, backend, dtype, task, batch, height, width, **common))
    return list(dict.fromkeys(rows))  # on the CPU auto and float32 are one


def _published_patch(entry: Entry) -> int:
    return 96 if not entry.is_rival and max(entry.options()['network_g']['window_sizes']) > 64 else 64


def _ways(
    modes: Sequence[str], backends: Sequence[str], dtypes: Sequence[str], device: str, task: str
) -> Iterator[tuple[str, str, str]]:
    for mode in modes:
        if mode in ONE_WAY:
            yield mode, *ONE_WAY[mode]
            continue
        for backend, dtype in product(backends, dtypes):
            yield mode, backend, AUTO_DTYPES.get((device, task), 'float32') if dtype == 'auto' else dtype


def obstacle(row: Row) -> str | None:
    """Why a row cannot be computed, or None.

    Raises:
        UserError: the network's options are faulty.
    """
    if row.entry.is_rival:
        try:
            on_meta(row.entry)
        except UserError as reason:  # a package is missing, most likely
            return ' '.join(str(reason).split())
        return None
    with torch.device('meta'):
        net = SST(**row.network())
    kwargs, device = row.inference_kwargs, torch.device(row.device)
    if row.training and (kwargs['graphs'] or row.mode == 'onnx'):
        return f'mode {row.mode} is for inference; take --tasks inference'
    if row.mode == 'onnx':
        return _obstacle_to_onnx(device)
    try:
        net.check_backend(device, DTYPES[row.dtype])
        if not row.training:
            net.check_inference(device, **kwargs)
        elif kwargs['fused']:
            check_fused_training(device, DTYPES[row.dtype])
    except UnsupportedBackendError as reason:
        return str(reason).splitlines()[0]
    return None


def _obstacle_to_onnx(device: torch.device) -> str | None:
    if device.type != 'cpu':
        return 'mode onnx is for the CPU; take --device cpu'
    try:
        require_packages('mode onnx')
    except UserError as reason:
        return str(reason)
    return None


def known(row: Row, ceilings: Ceilings) -> dict[str, Any]:
    """The network's options and what follows: parameters, multiply-adds of the batch, floor in seconds.

    `multiply_adds` are by formula, `multiply_adds_as_published` what torch counts in the published style, v padded.
    A training step counts three forward passes: torch's counter miscounts the backward pass of depthwise convolutions.
    Of a rival torch counts `multiply_adds`, and there is no floor.
    """
    network = row.network()
    times = row.batch * (TRAINING if row.training else 1)
    parameters, counted = _counted(row.entry, row.height, row.width)
    if row.entry.is_rival:
        return {'network': network, 'parameters': parameters, 'multiply_adds': times * counted}
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
def _counted(entry: Entry, height: int, width: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of one LR picture as torch counts them, of an SST in the published style."""
    if entry.is_rival:
        net = on_meta(entry)
    else:
        with torch.device('meta'):
            net = PublishedSST(entry.options()['network_g'])
    return sum(parameter.numel() for parameter in net.parameters()), count_multiply_adds(net, height, width)
