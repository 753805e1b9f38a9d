"""Finds the properties of a network by applying it to a small grey image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sst.utils.errors import UserError, reason_of

SMALLEST = 24  # pixels a side, at least
DOUBLINGS = 7  # of the multiple: from 1 to 64
GREY = 0.5
FARTHEST = 1.0  # the mean of the result may be from GREY; a network that gives 0 to 255 is farther off
# Maps of the largest size that are in memory at once, about. For whole images of 320x240 this estimate and the
# measurement on a CPU were: EDSR x4 1.35 and 1.28 GB, RRDBNet x4 1.35 and 1.19 GB, SwinIR x4 0.56 and 0.54 GB.
MAPS = 4


@dataclass(frozen=True)
class NetworkProperties:
    """What tiles need to know about a network."""

    scale: int
    multiple: int  # the sides of its images must be multiples of it
    values: float  # that are in memory at once for each LR pixel, about


@torch.no_grad()
def probe_network(net: nn.Module, device: torch.device, multiple: int = 1) -> NetworkProperties:
    """Apply a network, in float32, to images whose sides are multiples of `multiple`, then of twice that, and so on.

    Raises:
        UserError: it does not map RGB in [0, 1] to RGB in [0, 1], or its scale is not a whole number.
    """
    name = type(net).__name__
    faults = []
    for _ in range(DOUBLINGS):
        side = multiple * (math.ceil(SMALLEST / multiple) // 2 * 2 + 1)  # an odd number times, so not a larger multiple
        try:
            sr, values = _apply(net, torch.full((1, 3, side, side), GREY, device=device))
            break
        except Exception as fault:  # networks of other people raise errors of any kind
            faults.append(reason_of(fault))
            multiple *= 2
    else:
        raise UserError(f'{name}: fails on RGB images: {faults[0]}')
    scale = sr.shape[-1] // side
    if scale < 1 or sr.shape != (1, 3, scale * side, scale * side):
        raise UserError(
            f'{name}: gives {tuple(sr.shape)} for {(1, 3, side, side)}; it must enlarge RGB images by a whole number'
        )
    mean = float(sr.float().mean())
    if not abs(mean - GREY) <= FARTHEST:  # also if it is NaN
        raise UserError(f'{name}: gives a mean of {mean:.4g} for a grey image of {GREY}; it must work in [0, 1]')
    return NetworkProperties(scale, multiple, values)


def _apply(net: nn.Module, image: Tensor) -> tuple[Tensor, float]:
    """The network's result, and about how many values it has in memory at once for each LR pixel."""
    largest = [image.numel()]

    def look(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            largest.append(output.numel())

    handles = [module.register_forward_hook(look) for module in net.modules()]
    try:
        sr = net(image)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(sr, Tensor) or sr.dim() != 4:
        raise TypeError(f'its result must be a tensor of 4 dimensions, not {type(sr).__name__}')
    return sr, MAPS * max(largest) / image[0, 0].numel()
