"""The table of how the kernels are launched. There is no tuning at run time, which takes long for every new shape.

`scripts/sweep_kernels.py` measures candidates on a GPU and prints rows to paste at the top of the table.
"""

from dataclasses import dataclass, replace

import torch

from sst.ops.kernels.layout import SMALLEST, Layout, power_of_two

KERNELS = ('forward', 'query', 'key')  # the last two compute the gradients
Capability = int | None  # of a GPU: 89 is 8.9; None means the interpreter
Span = tuple[int, int]  # first and last value
ANY: Span = (0, 2**31)
ROWS_OF_A_WARP = 16  # of a product on tensor cores; a warp without rows of its own repeats those of another


@dataclass(frozen=True)
class Configuration:
    """How a kernel is launched. Blocks are in tokens, powers of two."""

    block_m: int  # queries
    block_n: int  # keys
    num_warps: int = 4
    num_stages: int = 2
    programs: int = 1024  # of a gradient kernel, about: enough for a large GPU

    def within(self, kernel: str, dtype: torch.dtype, window: int) -> 'Configuration':
        """The same, with blocks no larger than a window and no more warps than have rows of their own."""
        largest = max(power_of_two(window * window), SMALLEST)
        fitting = replace(self, block_m=min(self.block_m, largest), block_n=min(self.block_n, largest))
        if dtype == torch.float32:  # its products are not on tensor cores, so warps share the columns, too
            return fitting
        return replace(fitting, num_warps=min(self.num_warps, max(fitting.rows(kernel) // ROWS_OF_A_WARP, 1)))

    def rows(self, kernel: str) -> int:
        """Tokens that a program of a kernel owns: they are the rows of its products."""
        return self.block_n if kernel == 'key' else self.block_m

    def keywords(self) -> dict[str, int]:
        """The keywords to launch a kernel with."""
        return {
            'BLOCK_M': self.block_m,
            'BLOCK_N': self.block_n,
            'num_warps': self.num_warps,
            'num_stages': self.num_stages,
            'enable_fp_fusion': True,
        }


@dataclass(frozen=True)
class Row:
    """A configuration, and the calls that it applies to."""

    kernels: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]  # of the matrix products
    capabilities: Span
    widths: Span  # see `Layout.width`
    windows: Span
    configuration: Configuration
    heads: Span = ANY  # channels of a head

    def fits(self, kernel: str, dtype: torch.dtype, capability: int, layout: Layout, window: int) -> bool:
        spans = (
            (self.capabilities, capability),
            (self.widths, layout.width),
            (self.windows, window),
            (self.heads, layout.head_dim),
        )
        return kernel in self.kernels and dtype in self.dtypes and all(low <= at <= high for (low, high), at in spans)


INTERPRETED = Configuration(128, 64, programs=8)  # large blocks, because every block costs the interpreter the same
FORWARD, GRADIENTS = ('forward',), ('query', 'key')
HALF, FLOAT32 = (torch.float16, torch.bfloat16), (torch.float32,)
HOPPER_ON = (90, 2**31)
PUBLISHED = (0, 64)  # no published model is wider

# The first row that fits is used. Those with `heads` are for the published models, by a compiler's counts: they issue
# fewer instructions than the rows below them, spill nothing, and leave room for as many warps.
TABLE = (
    Row(FORWARD, HALF, (80, 90), (32, 32), ANY, Configuration(256, 128, num_warps=16), heads=(16, 16)),
    Row(FORWARD, HALF, (90, 90), (48, 48), ANY, Configuration(256, 128, num_warps=16), heads=(16, 16)),
    Row(FORWARD, HALF, (90, 90), (64, 64), (48, 48), Configuration(256, 128, num_warps=16), heads=(32, 32)),
    Row(FORWARD, HALF, (90, 90), (64, 64), (96, 96), Configuration(256, 128, num_warps=16), heads=(32, 32)),
    Row(FORWARD, HALF, (80, 89), (64, 64), ANY, Configuration(128, 128, num_warps=8), heads=(32, 32)),
    Row(FORWARD, HALF, (86, 89), (48, 48), ANY, Configuration(128, 128, num_warps=8), heads=(32, 32)),
    Row(FORWARD, HALF, (80, 90), (48, 48), ANY, Configuration(128, 128, num_warps=8), heads=(30, 30)),
    Row(FORWARD, HALF, (90, 90), (64, 64), ANY, Configuration(128, 128, num_warps=8), heads=(30, 30)),
    Row(FORWARD, HALF, HOPPER_ON, PUBLISHED, ANY, Configuration(128, 64, num_warps=8, num_stages=3)),
    Row(FORWARD, HALF, ANY, PUBLISHED, ANY, Configuration(128, 64, num_warps=8)),
    Row(FORWARD, HALF, ANY, ANY, ANY, Configuration(64, 64)),
    # without tensor cores all values are in registers
    Row(FORWARD, FLOAT32, ANY, PUBLISHED, ANY, Configuration(32, 64)),
    Row(FORWARD, FLOAT32, ANY, ANY, ANY, Configuration(32, 32)),
    Row(GRADIENTS, HALF, ANY, ANY, ANY, Configuration(64, 64)),
    Row(GRADIENTS, FLOAT32, ANY, ANY, ANY, Configuration(32, 32, num_warps=8)),
)


def find_configuration(
    kernel: str, dtype: torch.dtype, capability: Capability, layout: Layout, window: int
) -> Configuration:
    """The configuration of one of `KERNELS` for a layer, with blocks no larger than a window."""
    if capability is None:
        return INTERPRETED.within(kernel, dtype, window)
    fitting = (row for row in TABLE if row.fits(kernel, dtype, capability, layout, window))
    return next(fitting).configuration.within(kernel, dtype, window)
