"""The machine: what it is, and what it reaches at best."""

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarking.costs import Ceilings
from sst.driver.record import git_commit
from sst.utils.cores import usable_cores

PACKAGES = ('torch', 'triton', 'flash-attn', 'numpy', 'basicsr', 'onnxruntime', 'spandrel')


def describe(device: torch.device) -> dict[str, Any]:
    """Hardware, load, code and versions: what a result needs to be repeated or compared."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        'device': device_name(device),
        'cpu': _cpu(),
        'cores': usable_cores(),
        'threads': torch.get_num_threads(),
        # runnable processes of the last minute, before the first row
        'load': round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
        'system': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'cuda': torch.version.cuda if device.type == 'cuda' else None,
        'versions': versions,
        'commit': git_commit(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu()


def _cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        lines = []
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), platform.machine())


def measure_ceilings(device: torch.device, seconds: float = 1.0) -> Ceilings:
    """Matrix product, copy and exponentials, about `seconds` each: half precision on CUDA, float32 elsewhere.

    On CUDA exponentials are counted, not measured: 16 per clock and multiprocessor.
    """
    cuda = device.type == 'cuda'
    dtype, number = (torch.float16, 2) if cuda else (torch.float32, 4)
    size, length = (8192, 2**29) if cuda else (1024, 2**25)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    matmul = 2 * size**3 / _seconds(lambda: a @ b, device, seconds)
    source = torch.ones(length, device=device, dtype=dtype)
    target = torch.empty_like(source)
    copy = 2 * length * number / _seconds(lambda: target.copy_(source), device, seconds)
    if cuda:
        properties = torch.cuda.get_device_properties(device)
        clock = 1000.0 * getattr(properties, 'clock_rate', 0)  # in kHz; older versions of torch do not tell
        exp = 16 * properties.multi_processor_count * clock or float('inf')
    else:
        numbers = torch.rand(2**17)  # stays in the cache
        result = torch.empty_like(numbers)
        exp = len(numbers) / _seconds(lambda: torch.exp(numbers, out=result), device, seconds)
    return Ceilings(matmul, copy, exp, number)


def _seconds(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The shortest time of one call: other work on the machine is not what it could reach."""
    call()
    shortest = float('inf')
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        synchronize(device)
        begin = time.perf_counter()
        call()
        synchronize(device)
        shortest = min(shortest, time.perf_counter() - begin)
    return shortest


def synchronize(device: torch.device) -> None:
    """Wait for what was started on a GPU."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
