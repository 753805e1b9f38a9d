"""The sizes of one call, as the kernels need them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sst.ops.kernels.layout import Layout
from sst.ops.windows import windows_along


@dataclass(frozen=True)
class Geometry:
    """Sizes of a map and of its windows, and everything that follows from them."""

    batch: int
    height: int
    width: int
    layout: Layout
    window: int
    num_heads: int
    shift: int
    dtype: torch.dtype  # of the matrix products

    @classmethod
    def of(
        cls,
        qkv: Tensor,
        factor: Tensor | None,
        window: int,
        num_heads: int,
        shift: int,
        padding: int,
        dtype: torch.dtype,
    ) -> 'Geometry':
        """From qkv (B, H, W, 3 * heads * (d + padding)) and a factor (heads, N, r) of the term."""
        batch, height, width, channels = qkv.shape
        layout = Layout(channels // (3 * num_heads) - padding, 0 if factor is None else factor.shape[-1], padding)
        return cls(batch, height, width, layout, window, num_heads, shift, dtype)

    @property
    def rows(self) -> int:
        """Windows in a column of the map."""
        return windows_along(self.height, self.window)

    @property
    def columns(self) -> int:
        """Windows in a row of the map."""
        return windows_along(self.width, self.window)

    @property
    def windows(self) -> int:
        """Windows of the whole batch."""
        return self.batch * self.rows * self.columns

    @property
    def sizes(self) -> dict[str, int]:
        """The integer arguments of the kernels."""
        return {'height': self.height, 'width': self.width, 'rows': self.rows, 'columns': self.columns}

    def blocks(self, size: int) -> int:
        """Blocks of `size` tokens in a window."""
        return -(-self.window * self.window // size)

    def share(self, blocks: int, programs: int) -> int:
        """Windows for each program, so that there are about `programs` programs over all heads and blocks."""
        return max(1, self.windows * self.num_heads * blocks // programs)

    def constants(self) -> dict[str, object]:
        """The constants that the kernels are compiled with."""
        import triton.language as tl

        types = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}
        # one reflection is enough unless the padding reaches beyond the map's first pixel
        periodic = any(
            count * self.window > 2 * size - 1 for count, size in ((self.rows, self.height), (self.columns, self.width))
        )
        widest = self.num_heads * max(3 * self.layout.pitch, self.layout.lanes)  # of all maps
        padded = self.rows * self.columns * self.window**2 * widest
        return {
            'SCALE': self.layout.logit_scale,
            'DTYPE': types[self.dtype],
            'WINDOW': self.window,
            'HEADS': self.num_heads,
            'SHIFT': self.shift,
            'PERIODIC': periodic,
            'RANGE': 2.0 ** (self.window.bit_length() - 1),  # about the root of N: P is from 1 / N to 1
            'INDEX': tl.int32 if padded < 2**31 else tl.int64,
            **self.layout.constants(),
        }
