"""What SSTReal starts from: the bicubic enlargement of the LR image plus noise that the CPU draws.

Both can be had row by row, so that tiles get exactly what the whole image gets.
"""

from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 4
MULTIPLE = 64  # LR pixels: the sides of the padded image are multiples of it
SIGMA = 1.0  # the standard deviation of the noise
REACH = 2  # LR pixels that bicubic interpolation reads beyond a pixel
MOST_SEED = 2**32 - 1  # as manual_seed of an option file


def draw_noise(height: int, width: int, seed: int = 0) -> Tensor:
    """Normal noise (1, 3, 4 height, 4 width), float32 on the CPU, for an image of height x width LR pixels."""
    shape = 1, 3, SCALE * height, SCALE * width
    return torch.randn(shape, generator=_generator(seed), dtype=torch.float32)


class NoiseRows:
    """What `draw_noise` gives, in bands of rows, so that it is never in memory as a whole.

    The state of the generator is kept at every 64th row of each colour, and numbers are drawn anew from there.

    Args:
        height (int), width (int): of the padded image in LR pixels: multiples of 64.
        seed (int): from 0.
    """

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.width = width
        self.states: list[list[Tensor]] = []  # by colour, then by band of 64 LR rows
        generator = _generator(seed)
        for _ in range(3):
            self.states.append([])
            for _ in range(0, height, MULTIPLE):
                self.states[-1].append(generator.get_state())
                self._drawn(generator)

    def rows(self, top: int, bottom: int) -> Tensor:
        """The noise (1, 3, 4 (bottom - top), 4 width) of LR rows from `top` to before `bottom`."""
        first = top // MULTIPLE
        colours = []
        for states in self.states:
            bands = states[first : -(-bottom // MULTIPLE)]
            colours.append(torch.cat([self._drawn(torch.Generator().set_state(state)) for state in bands]))
        skipped = SCALE * (top - first * MULTIPLE)
        return torch.stack(colours)[None, :, skipped : skipped + SCALE * (bottom - top)]

    def _drawn(self, generator: torch.Generator) -> Tensor:
        """The next 64 LR rows of a colour."""
        return torch.randn(SCALE * MULTIPLE, SCALE * self.width, generator=generator, dtype=torch.float32)


def start(lq: Tensor) -> Tensor:
    """The bicubic enlargement of an image (B, 3, H, W): a = -0.75, border pixels repeated, not clamped, not rounded."""
    return F.interpolate(lq, scale_factor=SCALE, mode='bicubic', align_corners=False)


def checked_seed(seed: int) -> int:
    """The seed. Raises ValueError if it is no whole number from 0 to 2^32 - 1."""
    number = whole(seed)
    if number is None or not 0 <= number <= MOST_SEED:
        raise ValueError(f'seed must be a whole number from 0 to {MOST_SEED}, not {seed!r}; 0 is usual')
    return number


def whole(value: object) -> int | None:
    """A whole number of Python or NumPy as an int; None for anything else."""
    return int(value) if not isinstance(value, bool) and isinstance(value, Integral) else None


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(checked_seed(seed))
