"""The networks of the paper by name, and by which names a network goes."""

from collections.abc import Mapping
from typing import Any

from sst.options import SSTNetwork

USUAL, PLUS = [16, 32, 64, 16, 32, 64], [16, 32, 48, 32, 48, 96]
RIB = {'type': 'RIB', 'hidden': 32, 'bands': 10}
LIGHT: dict[str, Any] = {
    'dim': 48,
    'num_blocks': 5,
    'window_sizes': [8, 16, 32, 16, 32, 64],
    'num_heads': 3,
    'ffn_expansion': 1.5,
    'bias': RIB | {'ranks': [16, 16, 16, 24, 24, 24]},
    'upsampler': {'type': 'pixelshuffle_direct'},
}
BASE: dict[str, Any] = {
    'dim': 180,
    'num_blocks': 6,
    'window_sizes': USUAL,
    'num_heads': 6,
    'ffn_expansion': 1.25,
    'bias': RIB | {'ranks': [18, 18, 18, 34, 34, 34]},
    'upsampler': {'type': 'pixelshuffle', 'channels': 64},
}
LARGE: dict[str, Any] = {
    'dim': 192,
    'num_blocks': 8,
    'window_sizes': USUAL,
    'num_heads': 6,
    'ffn_expansion': 2.0,
    'bias': RIB | {'ranks': [16, 16, 16, 32, 32, 32]},
    'upsampler': {'type': 'pixelshuffle', 'channels': 96},
}
# `network_g` but for the scale, as in options/_base_/models
PUBLISHED: dict[str, dict[str, Any]] = {
    'SST-light': LIGHT,
    'SST-light+': LIGHT | {'window_sizes': PLUS},
    'SST': BASE,
    'SST+': BASE | {'window_sizes': PLUS},
    'SST-L': LARGE,
    'SST-L+': LARGE | {'window_sizes': PLUS},
    'SST-XL+': LARGE | {'window_sizes': PLUS, 'dim': 224, 'num_blocks': 10, 'num_heads': 7},
}
NOT_OF_THE_MODEL = ('scale', 'backend', 'attention_dtype')  # the same model has them all


def published_names(network: Mapping[str, Any], *, any_windows: bool = False) -> list[str]:
    """The models of the paper that `network_g` (an SST's) is, at any scale; with `any_windows`, windows aside."""
    own = _identity(network, any_windows)
    return [name for name, model in PUBLISHED.items() if _identity(model, any_windows) == own]


def _identity(network: Mapping[str, Any], any_windows: bool) -> dict[str, Any]:
    options = SSTNetwork.parse(network).model_dump()
    options['ffn_expansion'] = int(options['dim'] * options['ffn_expansion'])  # the hidden channels
    left_out = (*NOT_OF_THE_MODEL, 'window_sizes') if any_windows else NOT_OF_THE_MODEL
    return {key: value for key, value in options.items() if key not in left_out}
