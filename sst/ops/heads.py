"""Channels of zeros after those of each head, which let kernels read wider, and their inverse."""

import torch.nn.functional as F
from torch import Tensor


def pad_heads(x: Tensor, heads: int, padding: int, dim: int = -1) -> Tensor:
    """Append `padding` zeros to each of `heads` equal parts of a dimension of x."""
    parts = x.unflatten(dim, (heads, -1))
    start = dim % x.dim()
    return F.pad(parts, (0, 0) * (x.dim() - 1 - start) + (0, padding)).flatten(start, start + 1)


def crop_heads(x: Tensor, heads: int, padding: int) -> Tensor:
    """Take the last `padding` channels of each of `heads` equal parts away from (..., channels)."""
    parts = x.unflatten(-1, (heads, -1))
    return parts[..., : parts.shape[-1] - padding].flatten(-2)
