"""Networks applied to pictures: tiles for those that are too large for memory, the self-ensemble for a little more."""

from sst.inference.apply import apply_as_asked, preparation
from sst.inference.ensemble import self_ensemble
from sst.inference.memory import TileSize
from sst.inference.padding import padded, required_multiple
from sst.inference.tiles import Tiler, tiled, window_multiple
from sst.inference.trial import Trial, tried

__all__ = [
    'TileSize',
    'Tiler',
    'Trial',
    'apply_as_asked',
    'padded',
    'preparation',
    'required_multiple',
    'self_ensemble',
    'tiled',
    'tried',
    'window_multiple',
]
