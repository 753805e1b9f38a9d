"""Networks applied to images: in tiles if memory is short, and as a self-ensemble for a slightly better result."""

from sst.inference.apply import build_predictor, inference_kwargs
from sst.inference.ensemble import self_ensemble
from sst.inference.memory import TileSize
from sst.inference.one_step import OneStep, OneStepTiler, one_step_multiple
from sst.inference.padding import padded, required_multiple
from sst.inference.probing import NetworkProperties, probe_network
from sst.inference.tiles import Tiler, tiled, window_multiple

__all__ = [
    'NetworkProperties',
    'OneStep',
    'OneStepTiler',
    'TileSize',
    'Tiler',
    'build_predictor',
    'inference_kwargs',
    'one_step_multiple',
    'padded',
    'probe_network',
    'required_multiple',
    'self_ensemble',
    'tiled',
    'window_multiple',
]
