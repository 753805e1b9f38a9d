"""Networks as the options ask to apply them."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sst.archs import SSTReal
from sst.inference.ensemble import self_ensemble
from sst.inference.grid import grid_tiled
from sst.inference.one_step import one_step_predictor
from sst.inference.padding import padded, required_multiple
from sst.inference.tiles import tiled, window_multiple


def build_predictor(net: nn.Module, opt: dict) -> Callable[[Tensor], Tensor]:
    """Apply a network as `val` says (tiles, self-ensemble), to images of the sizes that it accepts.

    The noise of SSTReal is that of the seed `manual_seed`, for every image.
    """
    if isinstance(net, SSTReal):
        return one_step_predictor(net, opt['val'], opt['manual_seed'] or 0)
    predict: Callable[[Tensor], Tensor] = net
    options, scale = opt['val'], opt['scale']
    if (required := required_multiple(opt['network_g'])) > 1:
        predict = partial(padded, predict, scale=scale, multiple=required)
    if grid := options.get('tile_grid'):
        predict = partial(grid_tiled, predict, scale=scale, size=grid)
    elif tile := options.get('tile'):
        overlap, multiple = options['tile_overlap'], math.lcm(required, window_multiple(net))
        predict = partial(tiled, predict, scale=scale, tile=tile, overlap=overlap, multiple=multiple)
    return partial(self_ensemble, predict) if options.get('self_ensemble') else predict


def inference_kwargs(val: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords for `optimize_for_inference` that follow from `val`; empty if it asks for nothing."""
    dtype, fused, graphs = val.get('dtype'), val.get('fused'), val.get('graphs', 0)
    if not (dtype or fused or graphs):
        return {}
    return {'dtype': getattr(torch, dtype or 'float32'), 'fused': fused, 'graphs': graphs}
