"""Measures one network at one size of images, whole or in tiles, in a process of its own."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sst
from measuring.machine import synchronize
from measuring.memory import PeakMemory
from sst.checkpoints.networks import built
from sst.inference.memory import free_memory
from standings.entries import Entry

WARM_UP = 64  # LR pixels a side: a first pass of a large image would take as long as the one that counts
ONE_TILE = 'fits one tile, so this is a whole pass'
SHARE = 0.7  # of the free memory that a pass may take, by the estimate


@dataclass(frozen=True)
class Point:
    """A network at one size. `side` is in LR pixels; passes are repeated until `seconds` are over."""

    model: str
    scale: int
    side: int
    way: str
    device: str
    seconds: float

    @property
    def name(self) -> str:
        return f'{self.model} x{self.scale} {self.side} x {self.side} {self.way}'

    @property
    def pixels(self) -> int:
        return self.side**2


def measure_passes(point: Point) -> dict[str, Any]:
    """Seconds of each pass and their memory (bytes), with random weights; {'refused': reason} where it is no use.

    The result is dropped row by row, as it is when it is written to a file. `memory` is on CUDA the most that torch had
    allocated, on the CPU how much the process grew from the network built.
    """
    sst.keep_memory()
    torch.manual_seed(0)
    device = torch.device(point.device)
    net = built(Entry(point.model, point.scale).options()['network_g'], point.device)
    upscaler = sst.Upscaler(net, device, tile='auto' if point.way == 'tiles' else None)
    tiles = len(upscaler.tiles(point.side, point.side))
    if point.way == 'tiles' and tiles == 1:
        return {'refused': ONE_TILE}
    needed, free = upscaler.memory(point.side, point.side), free_memory(device)
    if needed > SHARE * free:
        return {'refused': f'about {needed / 1e9:.3g} GB are needed, {SHARE:.0%} of {free / 1e9:.3g} GB are allowed'}
    memory = PeakMemory(device)
    generator = np.random.default_rng(0)
    warm_up, image = (
        generator.integers(0, 256, (side, side, 3), np.uint8) for side in (min(WARM_UP, point.side), point.side)
    )
    seconds_of_pass(upscaler, warm_up)
    times: list[float] = []
    while not times or sum(times) < point.seconds:
        times.append(seconds_of_pass(upscaler, image))
    return {'times': times, 'memory': memory.peak(), 'tiles': tiles}


def seconds_of_pass(upscaler: sst.Upscaler, image: np.ndarray) -> float:
    """Enlarge an image (H, W, 3) from top to bottom."""
    synchronize(upscaler.device)
    begin = time.perf_counter()
    for _ in upscaler.enlarge(image):
        pass
    synchronize(upscaler.device)
    return time.perf_counter() - begin
