"""Relative positional bias, Swin's table (ablation)."""

import torch
from torch import nn

from sst.archs.bias.base import PositionalBias
from sst.ops import RelativeTable


class RPB(PositionalBias):
    """A learnt number per head and relative position: (2w - 1)^2 of them."""

    def __init__(self, window: int, num_heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.randn(num_heads, (2 * window - 1) ** 2) * 0.001)

    def term(self) -> RelativeTable:
        return RelativeTable(self.table, self.window)
