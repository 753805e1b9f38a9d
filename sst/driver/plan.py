"""What a run would do and cost, for `--dry-run`. Nothing is written, and no weight is allocated on the device."""

import time
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from sst.archs import WindowAttention
from sst.driver.prepare import Run
from sst.models.checkpoints import room_needed
from sst.models.optimiser import memory_of
from sst.utils.files import size_text
from sst.utils.tables import VisibleTable


@dataclass(frozen=True)
class Cost:
    """One training iteration of one process: multiply-adds, and bytes kept from forward to backward."""

    multiply_adds: int
    activations: int


def print_plan(run: Run) -> None:
    """Print what the run would be."""
    opt = run.opt
    table = VisibleTable(title=f'{opt["name"]}: the plan (nothing is written)', show_header=False)
    table.add_row('kind', 'training' if opt['is_train'] else 'test')
    table.add_row('device', f'{opt["world_size"]} x {_device_name(run.device)}')
    table.add_row('root folder', str(run.root))
    table.add_row('files of the run', str(run.folder))
    for options in opt['datasets'].values():
        name = options['name']
        table.add_row(f'{options["phase"]} set', f'{name}: {len(run.datasets[name]):,} images')
    for name in run.missing.values():
        table.add_row('val set' if opt['is_train'] else 'test set', f'{name}: missing')
    net = run.model.get_bare_model(run.model.net_g)
    table.add_row('network', f'{opt["network_g"]["type"]}, {sum(p.numel() for p in net.parameters()):,} parameters')
    weights = run.state['weights_path'] if run.state else opt['path']['pretrain_network_g']
    table.add_row('weights from', weights or 'none: initialised')
    if opt['is_train']:
        table.add_row('goes on from', run.state['path'] if run.state else 'nothing: a fresh run')
        _add_training(table, run, net)
    Console().print(table)


def _add_training(table: VisibleTable, run: Run, net: torch.nn.Module) -> None:
    opt, train, data = run.opt, run.opt['train'], run.opt['datasets']['train']
    per_process = data['batch_size'] // opt['world_size']
    size = data['gt_size'] // opt['scale']
    total_iter = train['total_iter']
    table.add_row('iterations', f'{total_iter:,}')
    table.add_row(
        'batch',
        f'{data["batch_size"]} in total, {per_process} per process, '
        f'{per_process // train["accumulate"]} at a time, {size} x {size} LR pixels each',
    )
    count, room = room_needed(opt, run.model.checkpoint_sizes(), run.start_iter)
    table.add_row('disk', f'{count:,} checkpoint{"" if count == 1 else "s"}, {size_text(room)} in all')
    fixed = fixed_memory(net, train)
    net = deepcopy(net).to('meta')
    _attend_as_on(net, run.device)
    try:
        cost = measure_cost(net, per_process // train['accumulate'], size)
    except (NotImplementedError, RuntimeError) as fault:  # a backend that cannot run without real numbers
        table.add_row(
            'memory',
            f'{size_text(fixed)} without activations (they could not be counted: {str(fault).splitlines()[0]})',
        )
        return
    precision = f'; with amp {train["amp"]} about half of the activations' if train['amp'] else ''
    table.add_row(
        'memory per process',
        f'{size_text(fixed)} weights, gradients, optimiser, EMA + about {size_text(cost.activations)} '
        f'activations{precision}',
    )
    iteration = cost.multiply_adds * train['accumulate']
    table.add_row('multiply-adds', f'{iteration * opt["world_size"]:.4g} per iteration, forward and backward')
    rate = multiply_add_rate(run.device)
    seconds = iteration / rate
    shortest, longest = (_duration(factor * seconds * total_iter) for factor in (2, 8))
    table.add_row(
        'time, very roughly',
        f'{shortest} to {longest}: 2 to 8 times that of plain matrix products, which '
        f'reach {2 * rate:.3g} FLOP/s here; data and validation not counted',
    )


def fixed_memory(net: torch.nn.Module, train: dict[str, Any]) -> int:
    """Bytes of weights, gradients, optimiser states and EMA."""
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    trained = sum(p.numel() * p.element_size() for p in net.parameters() if p.requires_grad)
    buffers = sum(b.numel() * b.element_size() for b in net.buffers())
    states = memory_of(train['optim_g'])
    copies = 2 if train['ema_decay'] else 1
    return copies * (weights + buffers) + (1 + states) * trained


def measure_cost(net: torch.nn.Module, batch: int, size: int) -> Cost:
    """Cost of a forward and backward pass for (batch, 3, size, size) of a network on `meta`.

    Runs on fake CPU tensors, which have shapes and no content, so that attention keeps what a fused kernel keeps. The
    backward pass is taken as twice the forward pass: torch's counter miscounts that of depthwise convolutions.
    """
    kept: dict[int, torch.Tensor] = {}  # the tensors themselves: an address is used again once one is freed

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    unknown = {  # to torch's counter
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
        torch.ops.sst.native_attention: _native_attention_flop,
    }
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False, custom_mapping=unknown) as counter:
        net = net.to_empty(device='cpu').train()
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            net(*_training_inputs(net, batch, size))
        for parameter in net.parameters():
            kept.pop(parameter.untyped_storage()._cdata, None)
        activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return Cost(3 * counter.get_total_flops() // 2, activations)


def _training_inputs(net: torch.nn.Module, batch: int, size: int) -> tuple[Any, ...]:
    """What a network is trained on: LR images, and for those that start from noise x, sigma and LR images."""
    lq = torch.empty(batch, 3, size, size)
    if not getattr(net, 'starts_from_noise', False):
        return (lq,)
    return F.interpolate(lq, scale_factor=net.scale), 1.0, lq  # type: ignore[arg-type]


def _attention_flop(q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _native_attention_flop(
    qkv: torch.Size, factor_q: torch.Size | None, factor_k: torch.Size | None, window: int, *_: Any, **__: Any
) -> int:
    batch, height, width, channels = qkv
    tokens = batch * -(-height // window) * -(-width // window) * window**2
    return 2 * tokens * window**2 * 2 * channels // 3


def _attend_as_on(net: torch.nn.Module, device: torch.device) -> None:
    """Count what torch's attention keeps if the run is not on the CPU. The CPU's kernels keep more or less."""
    for module in net.modules():
        if device.type != 'cpu' and isinstance(module, WindowAttention) and module.backend != 'reference':
            module.backend = 'sdpa'


def multiply_add_rate(device: torch.device, seconds: float = 1.0) -> float:
    """Multiply-adds per second of a plain float32 matrix product on `device`, measured for about `seconds`."""
    size = 8192 if device.type == 'cuda' else 1024
    a = torch.ones(size, size, device=device)
    _ = a @ a  # the first call sets things up
    _wait(device)
    begin, rounds, spent = time.perf_counter(), 0, 0.0
    while spent < seconds:
        _ = a @ a
        _wait(device)
        rounds += 1
        spent = time.perf_counter() - begin
    return rounds * size**3 / spent


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU ({torch.get_num_threads()} threads)'


def _duration(seconds: float) -> str:
    for unit, length in (('days', 86400), ('hours', 3600), ('minutes', 60)):
        if seconds >= length:
            return f'{seconds / length:.1f} {unit}'
    return f'{seconds:.0f} seconds'
