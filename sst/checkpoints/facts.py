"""What the shapes of an SST's weights say about the network, and what they leave open."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

BIAS_BY_PARAMETER = {
    'query_weight': 'RIB',
    'query': 'FlashBias',
    'table': 'RPB',
    'frequencies': 'RoPE',
    'conv.weight': 'CPE',
}


@dataclass(frozen=True)
class Facts:
    """What the shapes of an SST state dict say about the network; None where they say nothing."""

    dim: int
    blocks: int
    layers: int
    bias: str
    heads: tuple[int, ...] | None
    ranks: tuple[int, ...] | None
    ffn_hidden: int
    gate: str
    upsampler: str
    channels: int | None
    scale: int | None
    windows: tuple[int, ...] | None
    hidden: int | None
    bands: int | None

    def __str__(self) -> str:
        shown = [(f.name.replace('_', ' '), getattr(self, f.name)) for f in fields(self)]
        return ', '.join(f'{name} {plain(value)}' for name, value in shown if value is not None)


def facts(state: Mapping[str, Tensor]) -> Facts | None:
    """Read the facts off a state dict under our names; None where it is none of an SST."""
    try:
        return _read_facts(state)
    except LookupError:  # a name or a dimension that an SST has
        return None


def _read_facts(state: Mapping[str, Tensor]) -> Facts:
    blocks = {int(m[1]) for name in state if (m := re.match(r'blocks\.(\d+)\.', name))}
    layers = sorted({int(m[1]) for name in state if (m := re.match(r'blocks\.0\.layers\.(\d+)\.', name))})
    first = 'blocks.0.layers.0.'
    bias = next((b for p, b in BIAS_BY_PARAMETER.items() if f'{first}attn.bias.{p}' in state), 'none')
    if bias == 'RIB' and state[f'{first}attn.bias.hidden_weight'].shape[0] == 2:
        bias = 'SIREN'
    heads, ranks, windows, hidden, bands = None, None, None, None, None
    main = {'RIB': 'query_weight', 'SIREN': 'query_weight', 'FlashBias': 'query', 'RPB': 'table', 'RoPE': 'frequencies'}
    if bias in main:
        shapes = [state[f'blocks.0.layers.{i}.attn.bias.{main[bias]}'].shape for i in layers]
        heads = tuple(shape[1 if bias == 'RoPE' else 0] for shape in shapes)
        ranks = tuple(shape[-1] for shape in shapes) if bias in ('RIB', 'SIREN', 'FlashBias') else None
        if bias == 'RPB':
            windows = tuple((math.isqrt(shape[1]) + 1) // 2 for shape in shapes)  # (2w - 1)^2 entries
        if bias == 'FlashBias':
            windows = tuple(math.isqrt(shape[1]) for shape in shapes)
    if bias in ('RIB', 'SIREN'):
        inputs, hidden = state[f'{first}attn.bias.hidden_weight'].shape[:2]
        bands = (inputs - 2) // 4 if bias == 'RIB' else None
    gate = 'CLA' if f'{first}attn.gate.depthwise.weight' in state else 'pointwise'
    gate = gate if f'{first}attn.gate.pointwise.weight' in state else 'none'
    upsampler, channels, scale = _upsampler_facts(state)
    return Facts(
        dim=state['norm.weight'].shape[0],
        blocks=len(blocks),
        layers=len(layers),
        bias=bias,
        heads=heads,
        ranks=ranks,
        ffn_hidden=state[f'{first}ffn.expand.weight'].shape[0],
        gate=gate,
        upsampler=upsampler,
        channels=channels,
        scale=scale,
        windows=windows,
        hidden=hidden,
        bands=bands,
    )


def network_of(found: Facts, stated: Mapping[str, object]) -> dict:
    """`network_g` from facts and from what no shape tells.

    Args:
        found (Facts): of the weights.
        stated (Mapping): `window_sizes`, `num_heads` and `scale`, each where the facts lack it.
    """
    expansion = found.ffn_hidden / found.dim
    if int(found.dim * expansion) < found.ffn_hidden:  # rounded below the integer
        expansion = math.nextafter(expansion, math.inf)
    bias = {'type': found.bias, 'ranks': found.ranks, 'hidden': found.hidden, 'bands': found.bands}
    upsampler = {'type': found.upsampler, 'channels': found.channels}
    return {
        'type': 'SST',
        'scale': found.scale or stated['scale'],
        'dim': found.dim,
        'num_blocks': found.blocks,
        'window_sizes': found.windows or stated['window_sizes'],
        'num_heads': found.heads or stated['num_heads'],
        'ffn_expansion': expansion,
        'bias': {key: value for key, value in bias.items() if value is not None},
        'gate': found.gate,
        'upsampler': {key: value for key, value in upsampler.items() if value is not None},
    }


def untold(found: Facts) -> tuple[str, ...]:
    """Which of the options of the network no shape of these weights tells."""
    told = {'window_sizes': found.windows, 'num_heads': found.heads, 'scale': found.scale}
    return tuple(key for key, value in told.items() if value is None)


def _upsampler_facts(state: Mapping[str, Tensor]) -> tuple[str, int | None, int | None]:
    if 'upsampler.image_conv.weight' in state:  # x2 and x3 have the same shapes
        return (
            'nearest_conv',
            state['upsampler.reduce.weight'].shape[0],
            4 if 'upsampler.convs.1.weight' in state else None,
        )
    up = state['upsampler.up.weight']
    channels = up.shape[1] if 'upsampler.reduce.weight' in state else None
    return 'pixelshuffle' if channels else 'pixelshuffle_direct', channels, math.isqrt(up.shape[0] // (channels or 3))


def plain(value: object) -> str:
    """A fact for a message; a tuple of equal entries is one number."""
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else ' '.join(map(str, value))
    return 'unknown' if value is None else str(value)
