"""Block sizes of the kernels, fixed: tuning at run time would take its time on every new shape, and need a GPU."""

from dataclasses import dataclass, replace

import torch

from sst.ops.kernels.layout import SMALLEST, Layout, power_of_two

Capability = tuple[int, int] | None  # of a GPU; None is the interpreter


@dataclass(frozen=True)
class Configuration:
    """How a kernel is launched. Blocks are in tokens, powers of two."""

    block_m: int  # queries
    block_n: int  # keys
    num_warps: int = 4
    num_stages: int = 2
    programs: int = 1024  # about as many a gradient kernel is cut into, to keep a large GPU busy

    def within(self, window: int) -> 'Configuration':
        """The same with no blocks larger than a window."""
        largest = max(power_of_two(window * window), SMALLEST)
        return replace(self, block_m=min(self.block_m, largest), block_n=min(self.block_n, largest))

    def keywords(self) -> dict[str, int]:
        """What a kernel is launched with."""
        return {
            'BLOCK_M': self.block_m,
            'BLOCK_N': self.block_n,
            'num_warps': self.num_warps,
            'num_stages': self.num_stages,
            'enable_fp_fusion': True,
        }


INTERPRETED = Configuration(128, 64, programs=8)  # large: every block costs the interpreter the same


def forward_configuration(capability: Capability, layout: Layout, dtype: torch.dtype) -> Configuration:
    """Of the forward kernel."""
    if capability is None:
        return INTERPRETED
    wide = layout.lanes + layout.rank_lanes > 64  # wider than any published model
    if dtype == torch.float32:  # no tensor cores: everything lives in registers
        return Configuration(32, 32 if wide else 64)
    if wide:
        return Configuration(64, 64)
    return Configuration(128, 64, num_warps=8, num_stages=3 if capability >= (9, 0) else 2)


def backward_configuration(capability: Capability, dtype: torch.dtype) -> Configuration:
    """Of the two kernels that take the gradients."""
    if capability is None:
        return INTERPRETED
    size = 32 if dtype == torch.float32 else 64
    return Configuration(size, size, num_warps=8)
