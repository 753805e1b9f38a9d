"""What a positional bias passes to attention: a term that is added to the logits, or a rotation of q and k.

A term says what is added, not how. A backend decides whether it concatenates factors, adds a mask or refuses. Tokens of
a window are numbered n = y * w + x.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Term(ABC):
    """Is added to the logits of a window. Backends that do not know a kind of term add it as a mask, or refuse."""

    @abstractmethod
    def materialize(self) -> Tensor:
        """The term as a tensor (heads, query tokens, key tokens)."""


@dataclass(frozen=True)
class Factored(Term):
    """A low-rank term: logits += q k^T. In Eq. 6 `q` includes the factor 1/sqrt(r).

    Args:
        q (Tensor): (heads, N, rank), N = w * w.
        k (Tensor): (heads, N, rank).
    """

    q: Tensor
    k: Tensor

    def materialize(self) -> Tensor:
        return self.q @ self.k.transpose(-1, -2)


@dataclass(frozen=True)
class RelativeTable(Term):
    """A term looked up by relative position: logits[q, k] += table[h, dy, dx], dy = ky - qy + w - 1 and dx likewise.

    Args:
        table (Tensor): (heads, (2w - 1)^2), row by row over (dy, dx).
        window (int): w.
    """

    table: Tensor
    window: int

    def materialize(self) -> Tensor:
        w = self.window
        table = self.table.unflatten(1, (2 * w - 1, 2 * w - 1))
        shifted = table.unfold(1, w, 1).unfold(2, w, 1)  # (heads, w-1-qy, w-1-qx, ky, kx)
        return shifted.flip(1, 2).reshape(-1, w * w, w * w)


@dataclass(frozen=True)
class Rotation:
    """A rotary embedding: it rotates the channel pair (2j, 2j+1) of token n of head h by `angle[h, n, j]`.

    Heads whose size is not a multiple of 4 are zero-padded to 2 * pairs channels, rotated and cropped, as in RoPE-ViT.

    Args:
        angle (Tensor): (heads, N, pairs), in radians.
    """

    angle: Tensor

    def apply(self, tokens: Tensor) -> Tensor:
        """Rotate q or k. tokens and the result are (..., N, heads, d)."""
        size = tokens.shape[-1]
        angle = self.angle.transpose(0, 1)  # (N, heads, pairs); only its cosine and sine are rounded
        cos, sin = angle.cos().to(tokens.dtype), angle.sin().to(tokens.dtype)
        padded = torch.nn.functional.pad(tokens, (0, 2 * angle.shape[-1] - size))
        even, odd = padded[..., 0::2], padded[..., 1::2]
        rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
        return rotated.flatten(-2)[..., :size]
