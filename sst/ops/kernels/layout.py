"""Fits heads and ranks of any size into Triton's tiles, whose sizes are powers of two, with little waste."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 16  # channels of a matrix product on tensor cores
ALIGNMENT = 8  # channels of 16 bytes in half precision, the most that a thread reads at once


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()


def aligned(channels: int) -> int:
    """The smallest multiple of `ALIGNMENT` that is at least `channels`."""
    return -(-channels // ALIGNMENT) * ALIGNMENT


def worthwhile_padding(head_dim: int) -> int:
    """Channels of zeros after each head of the map, so that the kernels read 16 bytes at a time; often 0.

    Heads of 30 get 2: the map is a fifteenth larger, and the kernels issue a quarter of the loads. A head that would
    grow by more than an eighth stays as it is.
    """
    padding = aligned(head_dim) - head_dim
    return padding if 8 * padding <= head_dim else 0


@dataclass(frozen=True)
class Layout:
    """Logits are two products of tiles: `lanes` channels that hold the head, then `rank_lanes` of the term's factors.

    A head whose size is not a power of two leaves lanes empty. Channels of the factors beyond a power of two are put
    there: the published heads of 30 with ranks 18 and 34 need 32 + 16 and 32 + 32 channels, not 32 + 32 and 32 + 64.
    """

    head_dim: int  # d
    rank: int  # r, 0 without a term
    padding: int = 0  # channels of zeros that follow those of each head in the map, see `worthwhile_padding`

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
    def pitch(self) -> int:
        """Channels from one head to the next in the map."""
        return self.head_dim + self.padding

    @property
    def spare(self) -> int:
        """Lanes beside the head that hold the factors' last channels, or zeros."""
        return self.lanes - self.head_dim if self.rank > self.rank_lanes else 0

    @property
    def columns(self) -> int:
        """Row length of prepared factors: first those of the second product, at the end the spare lanes.

        Both products read all their lanes, and both parts of a row start at multiples of 16 bytes.
        """
        return self.rank_lanes + aligned(self.spare)

    def constants(self) -> dict[str, int | bool]:
        """The constants that the kernels are compiled with."""
        return {
            'D': self.head_dim,
            'PITCH': self.pitch,
            'LANES': self.lanes,
            'RANK_LANES': self.rank_lanes,
            'COLUMNS': self.columns,
            'SPARE': self.spare > 0,
        }

    def prepare(self, factor: Tensor | None, dtype: torch.dtype, scale: float = 1.0) -> Tensor | None:
        """A factor (heads, N, r) as the kernels read it: (heads, N, columns), scaled, in the dtype of the products."""
        if factor is None:
            return None
        padded = F.pad(factor * scale, (0, self.rank_lanes + self.spare - self.rank))
        first, spare = padded.split((self.rank_lanes, self.spare), -1)
        return torch.cat((first, F.pad(spare, (self.columns - self.rank_lanes - self.spare, 0))), -1).to(dtype)

    def restore(self, prepared: Tensor) -> Tensor:
        """(..., r) of (..., columns): the inverse of `prepare`, without its scale."""
        first, spare = prepared[..., : self.rank_lanes], prepared[..., self.columns - self.spare :]
        return torch.cat((first, spare), -1)[..., : self.rank]

    @property
    def logit_scale(self) -> float:
        """1 / sqrt(d) of Eq. 6 and log2(e), because the kernels' exponentials are to base 2."""
        return math.log2(math.e) / math.sqrt(self.head_dim)
