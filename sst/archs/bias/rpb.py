"""Relative positional bias, Swin's table (ablation)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sst.archs.bias.base import PositionalBias, Released
from sst.ops import RelativeTable
from sst.options.registries import BIASES


@BIASES.register()
class RPB(PositionalBias):
    """A table with a learnt number for each head and relative position; there are (2w - 1)^2 positions."""

    # The release computes the same bias in three ways.
    released = Released('Naive', 'SDPA', 'Flex', names={'attn.relative_position_bias': 'table'})

    def __init__(self, window: int, num_heads: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.randn(num_heads, (2 * window - 1) ** 2) * 0.001)

    def term(self) -> RelativeTable:
        return RelativeTable(self.table, self.window)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        if 'table' not in layers[0]:
            return None
        heads, entries = zip(*(layer['table'].shape for layer in layers), strict=True)
        return {'num_heads': heads, 'window_sizes': tuple((math.isqrt(count) + 1) // 2 for count in entries)}
