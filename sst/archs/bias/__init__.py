"""Positional biases, registered in BIASES. Every module here is imported, so a new bias is one new file."""

from collections.abc import Mapping
from typing import Any

from sst.archs.bias.base import PositionalBias
from sst.options.registries import BIASES
from sst.utils.registering import import_all

import_all(__name__, __path__)

__all__ = ['PositionalBias', 'build_bias']


def build_bias(options: Mapping[str, Any], layer: int, *, window: int, num_heads: int, dim: int) -> PositionalBias:
    """The bias of one layer.

    Args:
        options (Mapping): the network's `bias` section, with one entry per layer for options that may differ.
        layer (int): 0-based index of the layer in its block.
        window (int), num_heads (int), dim (int): sizes of that layer.
    """
    of_layer = BIASES[options['type']].of_layer(options, layer)
    return BIASES.build(of_layer, window=window, num_heads=num_heads, dim=dim)
