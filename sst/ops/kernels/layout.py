"""Fits heads and ranks of any size into Triton's tiles, whose sizes are powers of two, with little waste."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 16  # channels of a matrix product on tensor cores


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


@dataclass(frozen=True)
class Layout:
    """Logits are two products of tiles: `lanes` channels that hold the head, then `rank_lanes` of the term's factors.

    A head whose size is not a power of two leaves lanes empty. Channels of the factors beyond a power of two are put
    there: the published heads of 30 with ranks 18 and 34 need 32 + 16 and 32 + 32 channels, not 32 + 32 and 32 + 64.
    """

    head_dim: int  # d
    rank: int  # r, 0 without a term

    @property
    def lanes(self) -> int:
        return max(power_of_two(self.head_dim), SMALLEST)

    @property
    def rank_lanes(self) -> int:
        """Channels of the second product: the factors' first ones. 0 if all fit beside the head."""
        surplus = self.rank - (self.lanes - self.head_dim)
        return max(power_of_two(surplus), SMALLEST) if surplus > 0 else 0

    @property
    def width(self) -> int:
        """Lanes of both products."""
        return self.lanes + self.rank_lanes

    @property
    def columns(self) -> int:
        """Row length of prepared factors: both products read all lanes, and rows start at multiples of 16 bytes."""
        spare = self.lanes - self.head_dim if self.rank > self.rank_lanes else 0
        return -(-(self.rank_lanes + spare) // 8) * 8

    def constants(self) -> dict[str, int | bool]:
        """The constants that the kernels are compiled with."""
        return {
            'D': self.head_dim,
            'LANES': self.lanes,
            'RANK_LANES': self.rank_lanes,
            'COLUMNS': self.columns,
            'SPARE': self.rank > self.rank_lanes,
        }

    def prepare(self, factor: Tensor | None, dtype: torch.dtype, scale: float = 1.0) -> Tensor | None:
        """A factor (heads, N, r) as the kernels read it: (heads, N, columns), scaled, in the dtype of the products."""
        if factor is None:
            return None
        return F.pad(factor * scale, (0, self.columns - self.rank)).to(dtype).contiguous()

    @property
    def logit_scale(self) -> float:
        """1 / sqrt(d) of Eq. 6 and log2(e), because the kernels' exponentials are to base 2."""
        return math.log2(math.e) / math.sqrt(self.head_dim)
