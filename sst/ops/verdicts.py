"""Which cases of window attention the fused kernels take on this machine: what `fused_check` found."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Case:
    """All that the choice of a kernel depends on, except the size of the map."""

    map_dtype: torch.dtype  # of qkv
    dtype: torch.dtype  # in which attention computes
    window: int
    num_heads: int
    head_dim: int
    rank: int  # of the term; 0 for none
    gated: bool
    gradients: bool

    @property
    def name(self) -> str:
        """What the cache and the log call it."""
        dtypes = '/'.join(str(dtype).removeprefix('torch.') for dtype in (self.map_dtype, self.dtype))
        what = 'training' if self.gradients else 'inference'
        gate = 'gated' if self.gated else 'plain'
        return f'{what} {dtypes} w{self.window} h{self.num_heads} d{self.head_dim} r{self.rank} {gate}'


_taken: dict[tuple[torch.device, Case], bool] = {}


def record(device: torch.device, case: Case, taken: bool) -> None:
    """Say whether the fused kernels take a case on a device."""
    _taken[device, case] = taken


def known(device: torch.device, case: Case) -> bool:
    """Whether a case was decided."""
    return (device, case) in _taken


@torch.compiler.assume_constant_result  # torch.compile cannot trace the look-up
def taken(device: torch.device, *fields: Any) -> bool:
    """Whether the fused kernels take the case with these fields. Cases that were not decided they do not take."""
    return _taken.get((device, Case(*fields)), False)


def forget() -> None:
    """Forget all that was decided in this process."""
    _taken.clear()
