"""The published networks of ours by name, and by which names a network goes."""

from collections.abc import Mapping
from typing import Any

from sst.checkpoints.facts import own_network

NOT_OF_THE_MODEL = ('scale', 'backend', 'attention_dtype', 'pad_to_window')  # the same model has them all
WINDOWS = ('window_sizes', 'window_size')
USUAL, PLUS = [16, 32, 64, 16, 32, 64], [16, 32, 48, 32, 48, 96]


def _model(windows: list[int], dim: int, blocks: int, heads: int, expansion: float, *ranks: int, channels: int) -> dict:
    upsampler = {'type': 'pixelshuffle', 'channels': channels} if channels else {'type': 'pixelshuffle_direct'}
    return {
        'type': 'SST',
        'dim': dim,
        'num_blocks': blocks,
        'window_sizes': windows,
        'num_heads': heads,
        'ffn_expansion': expansion,
        'bias': {'type': 'RIB', 'ranks': [rank for rank in ranks for _ in range(3)], 'hidden': 32, 'bands': 10},
        'upsampler': upsampler,
    }


STEMS = {'ESC-RIB': 'ESCRIB'}  # of models whose option files have a name of their own
# `network_g` without the scale, as in options/_base_/models
PUBLISHED: dict[str, dict[str, Any]] = {
    'SST-light': _model([8, 16, 32, 16, 32, 64], 48, 5, 3, 1.5, 16, 24, channels=0),
    'SST-light+': _model(PLUS, 48, 5, 3, 1.5, 16, 24, channels=0),
    'SST': _model(USUAL, 180, 6, 6, 1.25, 18, 34, channels=64),
    'SST+': _model(PLUS, 180, 6, 6, 1.25, 18, 34, channels=64),
    'SST-L': _model(USUAL, 192, 8, 6, 2.0, 16, 32, channels=96),
    'SST-L+': _model(PLUS, 192, 8, 6, 2.0, 16, 32, channels=96),
    'SST-XL+': _model(PLUS, 224, 10, 7, 2.0, 16, 32, channels=96),
    'ESC-RIB': {
        'type': 'ESCRIB',
        'dim': 64,
        'pdim': 16,
        'kernel_size': 13,
        'num_blocks': 5,
        'conv_blocks': 5,
        'window_size': 64,
        'num_heads': 4,
        'ffn_expansion': 1.25,
        'bias': {'type': 'RIB', 'ranks': 16, 'hidden': 32, 'bands': 10},
    },
}


def published_names(network: Mapping[str, Any], *, any_windows: bool = False) -> list[str]:
    """The published models that `network_g` is, at any scale; with `any_windows`, windows aside."""
    own = _identity(network, any_windows)
    return [name for name, model in PUBLISHED.items() if _identity(model, any_windows) == own]


def stem_of(model: str) -> str:
    """What a published model is called in the names of option files: SST-L+ is SST_L_plus."""
    return STEMS.get(model) or model.replace('-', '_').replace('+', '_plus')


def _identity(network: Mapping[str, Any], any_windows: bool) -> dict[str, Any]:
    own = own_network(network.get('type', 'SST'))
    if own is None:
        return dict(network)
    options = own.Options.parse(network).model_dump()
    options['ffn_expansion'] = int(options['dim'] * options['ffn_expansion'])  # the hidden channels
    left_out = (*NOT_OF_THE_MODEL, *WINDOWS) if any_windows else NOT_OF_THE_MODEL
    return {key: value for key, value in options.items() if key not in left_out}
