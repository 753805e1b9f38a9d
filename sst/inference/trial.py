"""What a network is, found out by trying it on a small grey picture."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sst.utils.errors import UserError, reason_of

SMALLEST = 24  # pixels a side, at least
DOUBLINGS = 7  # of the multiple that is tried: from 1 to 64
GREY = 0.5
FARTHEST = 1.0  # of the answer's mean from GREY; a network that gives 0 to 255 is far off
# Maps of the largest kind that are in memory at once, about. Whole images of 320x240 took this much, by estimate and
# measured on a CPU: EDSR x4 1.35 and 1.28 GB, RRDBNet x4 1.35 and 1.19 GB, SwinIR x4 0.56 and 0.54 GB.
MAPS = 4


@dataclass(frozen=True)
class Trial:
    """What is known of a network: its enlargement, of what number the sides of its pictures must be multiples, and how
    many numbers it computes at once for each LR pixel, about."""

    scale: int
    multiple: int
    numbers: float


@torch.no_grad()
def tried(net: nn.Module, device: torch.device, multiple: int = 1) -> Trial:
    """Try a network, in float32, on pictures whose sides are multiples of `multiple`, then of its double, and so on.

    Raises:
        UserError: it does not take or give RGB in [0, 1], or its scale is not a whole number.
    """
    name = type(net).__name__
    faults = []
    for _ in range(DOUBLINGS):
        side = multiple * (math.ceil(SMALLEST / multiple) // 2 * 2 + 1)  # an odd number times: no larger multiple
        try:
            answer, numbers = _answer(net, torch.full((1, 3, side, side), GREY, device=device))
            break
        except Exception as fault:  # networks of other people raise anything
            faults.append(reason_of(fault))
            multiple *= 2
    else:
        raise UserError(f'{name}: fails on RGB pictures: {faults[0]}')
    scale = answer.shape[-1] // side
    if scale < 1 or answer.shape != (1, 3, scale * side, scale * side):
        raise UserError(
            f'{name}: makes {tuple(answer.shape)} of {(1, 3, side, side)}; it must give RGB pictures, enlarged by a '
            'whole number'
        )
    mean = float(answer.float().mean())
    if not abs(mean - GREY) <= FARTHEST:  # NaN neither
        raise UserError(f'{name}: answers a grey picture of {GREY} with a mean of {mean:.4g}; it must work in [0, 1]')
    return Trial(scale, multiple, numbers)


def _answer(net: nn.Module, picture: Tensor) -> tuple[Tensor, float]:
    """The network's answer, and about how many numbers it computed at once for each LR pixel."""
    largest = [picture.numel()]

    def look(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            largest.append(output.numel())

    handles = [module.register_forward_hook(look) for module in net.modules()]
    try:
        answer = net(picture)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(answer, Tensor) or answer.dim() != 4:
        raise TypeError(f'its answer is not a tensor of 4 dimensions, but {type(answer).__name__}')
    return answer, MAPS * max(largest) / picture[0, 0].numel()
