"""What the shapes of an SST's weights say about the network, and what they leave open.

What they say of its bias, gate and upsampler those parts tell themselves, by their `recognise`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from sst.options.registries import BIASES, GATES, UPSAMPLERS


@dataclass(frozen=True)
class Facts:
    """What the shapes of an SST state dict say about the network; None if they say nothing."""

    dim: int
    blocks: int
    layers: int
    bias: Mapping[str, Any]
    heads: tuple[int, ...] | None
    ffn_hidden: int
    gate: str
    upsampler: Mapping[str, Any]
    scale: int | None
    windows: tuple[int, ...] | None

    def named(self) -> Iterator[tuple[str, Any]]:
        """Names and values of what is known, those of the parts' options included."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                yield field.name, value['type']
                yield from ((key, item) for key, item in value.items() if key != 'type')
            elif value is not None:
                yield field.name.replace('_', ' '), value

    def __str__(self) -> str:
        return ', '.join(f'{name} {plain(value)}' for name, value in self.named())


def facts(state: Mapping[str, Tensor]) -> Facts | None:
    """Read the facts off a state dict under our names; None if it is not an SST's."""
    try:
        return _read_facts(state)
    except (LookupError, ValueError):  # a name or a dimension that an SST has
        return None


def _read_facts(state: Mapping[str, Tensor]) -> Facts:
    blocks = {int(m[1]) for name in state if (m := re.match(r'blocks\.(\d+)\.', name))}
    layers = sorted({int(m[1]) for name in state if (m := re.match(r'blocks\.0\.layers\.(\d+)\.', name))})
    first = 'blocks.0.layers.0.'
    bias = _recognised(BIASES, [_below(state, f'blocks.0.layers.{layer}.attn.bias.') for layer in layers])
    upsampler = _recognised(UPSAMPLERS, _below(state, 'upsampler.'))
    return Facts(
        dim=state['norm.weight'].shape[0],
        blocks=len(blocks),
        layers=len(layers),
        heads=bias.pop('num_heads', None),
        windows=bias.pop('window_sizes', None),
        bias=bias,
        ffn_hidden=state[f'{first}ffn.expand.weight'].shape[0],
        gate=_recognised(GATES, _below(state, f'{first}attn.gate.'))['type'],
        scale=upsampler.pop('scale', None),
        upsampler=upsampler,
    )


def _recognised(registry: Mapping[str, Any], parameters: Any) -> dict[str, Any]:
    """`type` and options of the part whose parameters these are; type 'unknown' where no part recognises them."""
    for name, part in registry.items():
        found = part.recognise(parameters) if hasattr(part, 'recognise') else None
        if found is not None:
            return {'type': name, **found}
    return {'type': 'unknown' if any(parameters) else 'none'}  # a list of mappings or one mapping


def _below(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def network_of(found: Facts, stated: Mapping[str, object]) -> dict:
    """`network_g` from facts and from what no shape tells.

    Args:
        found (Facts): of the weights.
        stated (Mapping): `window_sizes`, `num_heads` and `scale`, each where the facts lack it.
    """
    expansion = found.ffn_hidden / found.dim
    if int(found.dim * expansion) < found.ffn_hidden:  # rounded below the integer
        expansion = math.nextafter(expansion, math.inf)
    return {
        'type': 'SST',
        'scale': found.scale or stated['scale'],
        'dim': found.dim,
        'num_blocks': found.blocks,
        'window_sizes': found.windows or stated['window_sizes'],
        'num_heads': found.heads or stated['num_heads'],
        'ffn_expansion': expansion,
        'bias': dict(found.bias),
        'gate': found.gate,
        'upsampler': dict(found.upsampler),
    }


def untold(found: Facts) -> tuple[str, ...]:
    """Which options of the network no shape of these weights tells."""
    known = {'window_sizes': found.windows, 'num_heads': found.heads, 'scale': found.scale}
    return tuple(key for key, value in known.items() if value is None)


def plain(value: object) -> str:
    """A fact for a message; a tuple of equal entries is one number."""
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else ' '.join(map(str, value))
    return 'unknown' if value is None else str(value)
