"""Measures one row, in a process of its own: neither memory nor warmth passes from one row to another."""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from benchmarking.onnx import OnnxNetwork
from benchmarking.published import PublishedSST
from benchmarking.rivals import build_rival
from benchmarking.rows import DTYPES, Row
from measuring.machine import synchronize
from measuring.memory import PeakMemory
from sst.archs import SST, WindowAttention, WindowNetwork
from sst.interop.onnx import export_onnx
from sst.models.optimiser import build_optimiser
from sst.utils.precision import full_float32, use_tf32

INPUTS = 3  # pictures or batches in turn, so that no cache holds what comes next
WARM_UP = {'cuda': 3, 'cpu': 1}
CHECK_SIZE = (40, 56)  # LR pixels of the picture on which a row is held against the reference
SHARPER = 8  # times the initial weights: leaving out the bias is then an error of 0.3 in place of 2e-6
# Largest relative error of the residual or the gradient against float32: rounding stays below, a wrong kernel does not.
TOLERANCE = {'float32': 1e-4, 'float16': 2e-2, 'bfloat16': 6e-2}


def measure(row: Row, model: str | Path = '') -> dict[str, Any]:
    """Run the row and say how long each repetition took (s), what memory it needed (bytes) and how exact it is.

    `memory` is on CUDA the most that torch had allocated, weights included, as in the paper, on the CPU how much the
    process grew. `error` is the relative L2 error against backend `reference` in float32 on a small picture, of what
    the network adds to the enlarged input, in training of all gradients; `wrong` says that it is too large. A rival has
    times and memory alone.

    Args:
        row (Row): the row.
        model (str | Path): the file that `export` wrote, for mode `onnx`.
    """
    torch.manual_seed(0)
    device = torch.device(row.device)
    messages = _Messages()
    if row.mode != 'published':  # whose products were in full float32, and its convolutions in TF32
        use_tf32(True)
    if row.entry.is_rival:
        times, peak = timed(row, build_rival(row.entry, row.device, DTYPES[row.dtype], training=row.training))
        return {'times': times, 'memory': peak}
    base = reference(row)
    net = OnnxNetwork(model) if row.mode == 'onnx' else build(row, base)
    times, peak = timed(row, net)
    attention = ', '.join(messages.found) or row.backend  # nothing is logged from compiled code
    error = relative_error(row, net, base.to(device))
    wrong = not error <= tolerance(row)
    return {'times': times, 'memory': peak, 'error': error, 'wrong': wrong, 'attention': attention}


def timed(row: Row, net: nn.Module) -> tuple[list[float], int]:
    """Seconds of each repetition, and the memory that they needed; see `measure`."""
    device = torch.device(row.device)
    if (
        device.type == 'cuda' and row.training and isinstance(net, WindowNetwork)
    ):  # in inference the network is prepared
        net.choose_kernels((row.height, row.width), row.batch, map_dtype=DTYPES[row.dtype], gradients=True)
    memory = PeakMemory(device)
    times = repeat(training_step(row, net) if row.training else inference(row, net), row, device)
    return times, memory.peak()


def reference(row: Row) -> WindowNetwork:
    """The row's network with backend `reference`, sharpened. Its weights follow from torch's seed."""
    return sharpened(SST(**row.network() | {'backend': 'reference'}))


def export(row: Row, model: str | Path) -> None:
    """Write the row's network as an ONNX model, with the weights that it is measured with. Raises UserError."""
    torch.manual_seed(0)
    export_onnx(reference(row), model)


@torch.no_grad()
def sharpened(net: WindowNetwork) -> WindowNetwork:
    """Enlarge the weights of attention and bias: as initialised, logits are next to zero and no fault would show."""
    for module in net.modules():
        if isinstance(module, WindowAttention):
            for weight in (module.qkv.weight, module.proj.weight, *module.bias.parameters()):
                weight.mul_(SHARPER)
    return net


def build(row: Row, base: WindowNetwork) -> nn.Module:
    """The row's network with the weights of `base`, on the row's device."""
    if row.mode == 'published':
        published = PublishedSST(row.network()).load(base.state_dict()).to(row.device)
        return published if row.training else published.eval()
    net = SST(**row.network()).to(row.device)
    net.load_state_dict(base.state_dict())
    if row.training:
        net = net.to(memory_format=torch.channels_last)
        if row.mode == 'fused':
            net.fuse_training()
    else:
        net.optimize_for_inference(**row.inference_kwargs)
    if row.mode == 'compiled':
        net.compile()
    return net


def inference(row: Row, net: nn.Module) -> Callable[[int], object]:
    """A forward pass of the i-th picture."""
    pictures = _pictures(row, row.height, row.width)

    def call(index: int) -> object:
        with torch.no_grad():
            return net(pictures[index % INPUTS])

    return call


def training_step(row: Row, net: nn.Module) -> Callable[[int], object]:
    """A step on the i-th batch as `SSTModel` takes it: forward, L1, backward, AdamW, moving average."""
    lr = _pictures(row, row.height, row.width)
    hr = _pictures(row, row.height * row.scale, row.width * row.scale)
    options = {'type': 'AdamW', 'lr': 5e-4, 'betas': (0.9, 0.9), 'weight_decay': 0}
    optimizer = build_optimiser(list(net.parameters()), options)
    scaler = torch.amp.GradScaler(row.device, enabled=row.dtype == 'float16')
    average = [parameter.detach().clone() for parameter in net.parameters()]
    update = get_ema_multi_avg_fn(0.999)

    def call(index: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(row):
            output = net(lr[index % INPUTS])
        scaler.scale(F.l1_loss(output.float(), hr[index % INPUTS])).backward()
        scaler.step(optimizer)
        scaler.update()
        with torch.no_grad():
            update(average, list(net.parameters()), None)

    return call


def repeat(call: Callable[[int], object], row: Row, device: torch.device) -> list[float]:
    """Seconds of each call after warming up: by events on CUDA, by the clock elsewhere."""
    for index in range(WARM_UP[device.type]):
        call(index)
    synchronize(device)
    times: list[float] = []
    end = time.perf_counter() + row.seconds
    while len(times) < row.repeats and (len(times) < 2 or time.perf_counter() < end):
        if device.type == 'cuda':
            begin, finish = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call(len(times))
            finish.record()
            finish.synchronize()
            times.append(begin.elapsed_time(finish) / 1000)
        else:
            start = time.perf_counter()
            call(len(times))
            times.append(time.perf_counter() - start)
    return times


def relative_error(row: Row, net: nn.Module, base: WindowNetwork) -> float:
    """See `measure`. Called after the measurement; gives `net`, if it was trained, the weights of `base` again."""
    state = base.state_dict()
    if isinstance(net, PublishedSST):
        net.load(state)
    elif row.training:
        net.load_state_dict(state)
    lr = _pictures(row, *CHECK_SIZE)[0, :1]
    if row.training:
        actual = _gradients(row, net, lr)
        with full_float32():
            expected = _gradients(None, base, lr)
    else:
        with torch.no_grad():
            enlarged = F.interpolate(lr, scale_factor=row.scale)
            with full_float32():
                expected = base(lr) - enlarged
            for _ in range(3):  # as it is, recorded, replayed: what is held against the reference is the last
                actual = net(lr) - enlarged
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


def tolerance(row: Row) -> float:
    """The largest error that is no fault. On CUDA attention is never more exact than bfloat16, unless asked for."""
    return TOLERANCE['bfloat16' if row.device == 'cuda' and row.dtype == 'float32' else row.dtype]


def _gradients(row: Row | None, net: nn.Module, lr: Tensor) -> Tensor:
    """All gradients of a mean square in one vector; with the row's autocast where one is given.

    The factor keeps them in the range of float16.
    """
    net.zero_grad(set_to_none=True)
    with nullcontext() if row is None else _autocast(row):
        output = net(lr)
    (1000 * output.float().square().mean()).backward()
    parameters = [parameter for _, parameter in sorted(net.named_parameters())]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def _autocast(row: Row):
    return nullcontext() if row.dtype == 'float32' else torch.autocast(row.device, DTYPES[row.dtype])


def _pictures(row: Row, height: int, width: int) -> Tensor:
    """(INPUTS, batch, 3, height, width), random in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(INPUTS, row.batch, 3, height, width, generator=generator).to(row.device)


class _Messages(logging.Handler):
    """Keeps what the door to attention logs: who computes, once per backend, device and dtype."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[str] = []
        logger = logging.getLogger('basicsr')
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith('Window attention: backend '):
            self.found.append(text.removeprefix('Window attention: backend ').removesuffix('.'))
