"""The arguments of attention.cpp: sizes, tensors and how windows lie on the map."""

import ctypes
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.native.build import library
from sst.ops.windows import shown_pixels, windows_along

POINTERS = (
    *('qkv', 'term_q', 'term_k', 'term_q_turned', 'term_k_turned', 'out', 'lse', 'grad', 'delta', 'd_qkv', 'd_term'),
    *('packed', 'source_y', 'source_x', 'position_y', 'position_x', 'next'),
)
TASKS = 128  # of one call, about: enough for many cores, and fixed, so that gradients are summed in a fixed order


@dataclass(frozen=True)
class Sizes:
    """The sizes of a problem, in the order of attention.cpp's `Problem`."""

    batch: int
    height: int
    width: int
    heads: int
    head_dim: int
    rank: int
    window: int
    rows: int  # of windows
    columns: int
    tokens: int  # window * window, rounded up to the step of the loops
    wide: int  # head_dim, rounded up to whole vectors
    rank_wide: int
    chunk: int  # windows in a task

    @staticmethod
    def of(qkv: Tensor, factor: Tensor | None, window: int, heads: int, *, gradients: bool = False) -> 'Sizes':
        """The sizes for a map (B, H, W, 3C) and a term's factor (heads, N, r)."""
        lanes = library().lanes()
        batch, height, width, channels = qkv.shape
        head_dim, rank = channels // (3 * heads), 0 if factor is None else factor.shape[-1]
        rows, columns = windows_along(height, window), windows_along(width, window)
        tokens = _up(window * window, 2 * lanes)
        windows = max(batch * rows * columns, 1)
        tile = library().backward_rows() if gradients else library().forward_rows()
        chunk = -(-windows // min(windows, max(1, TASKS // (heads * -(-tokens // tile)))))
        wide, rank_wide = _up(head_dim, lanes), _up(rank, lanes)
        sizes = (heads, head_dim, rank, window, rows, columns, tokens, wide, rank_wide, chunk)
        return Sizes(batch, height, width, *sizes)

    @property
    def windows(self) -> int:
        """Windows of all images."""
        return self.batch * self.rows * self.columns

    @property
    def chunks(self) -> int:
        return -(-self.windows // self.chunk)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


class Problem(ctypes.Structure):
    """The struct `Problem` of attention.cpp. It keeps the tensors alive that it points to."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((field.name, ctypes.c_int64) for field in fields(Sizes)),
    ]

    def __init__(self, sizes: Sizes, shift: int, kinds: int, **tensors: Tensor) -> None:
        """Allocate `kinds` packed tensors and point to contiguous `tensors`, by the names of the struct."""
        super().__init__(**{field.name: getattr(sizes, field.name) for field in fields(sizes)})
        source_y, position_y = (axis.int() for axis in shown_pixels(sizes.height, sizes.window, shift))
        source_x, position_x = (axis.int() for axis in shown_pixels(sizes.width, sizes.window, shift))
        self.tensors: dict[str, Tensor] = {}
        self.point(
            packed=torch.empty(kinds, sizes.heads, sizes.windows, sizes.tokens * sizes.wide),
            source_y=source_y,
            source_x=source_x,
            position_y=position_y,
            position_x=position_x,
            **tensors,
        )

    def point(self, **tensors: Tensor) -> None:
        """Set pointers."""
        for name, tensor in tensors.items():
            assert tensor.is_contiguous(), name
            self.tensors[name] = tensor
            setattr(self, name, tensor.data_ptr())


def laid_out(sizes: Sizes, factor_q: Tensor | None, factor_k: Tensor | None, scale: float) -> dict[str, Tensor]:
    """The factors of a term as the struct needs them, the first times `scale`: zero-padded, and also transposed."""
    tensors: dict[str, Any] = {}
    if factor_q is not None and factor_k is not None:
        beyond = sizes.tokens - factor_q.shape[1]
        for name, factor in (('term_q', factor_q.float() * scale), ('term_k', factor_k.float())):
            tensors[name] = F.pad(factor, (0, sizes.rank_wide - sizes.rank, 0, beyond)).contiguous()
            tensors[f'{name}_turned'] = F.pad(factor.mT, (0, beyond)).contiguous()
    return tensors
