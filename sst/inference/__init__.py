"""Networks applied to pictures: tiles for those that are too large for memory, the self-ensemble for a little more."""

from sst.inference.apply import apply_as_asked, preparation
from sst.inference.ensemble import self_ensemble
from sst.inference.memory import TileSize
from sst.inference.padding import padded
from sst.inference.tiles import Tiler, tiled, window_multiple

__all__ = [
    'TileSize',
    'Tiler',
    'apply_as_asked',
    'padded',
    'preparation',
    'self_ensemble',
    'tiled',
    'window_multiple',
]
