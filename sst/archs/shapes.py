"""Options of a network from the names and shapes of its weights, for `recognise`."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def indices(state: Mapping[str, Tensor], start: str) -> set[int]:
    """The numbers that follow `start` in names."""
    pattern = re.compile(re.escape(start) + r'(\d+)\.')
    return {int(match[1]) for name in state if (match := pattern.match(name))}


def below(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """The weights whose names begin with `start`, under the rest of their names."""
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def part_recognised(registry: Mapping[str, Any], parameters: Any) -> dict[str, Any]:
    """`type` and options of the part whose parameters these are; type 'unknown' if no part recognises them.

    Args:
        registry (Mapping): names to parts.
        parameters: what `recognise` of the parts takes: a mapping, or a list with one for each layer.
    """
    for name, part in registry.items():
        found = part.recognise(parameters) if hasattr(part, 'recognise') else None
        if found is not None:
            return {'type': name, **found}
    return {'type': 'unknown' if any(parameters) else 'none'}


def expansion_of(hidden: int, dim: int) -> float:
    """The smallest known `ffn_expansion` that gives this many hidden channels, int(dim * expansion)."""
    expansion = hidden / dim
    return expansion if int(dim * expansion) >= hidden else math.nextafter(expansion, math.inf)
