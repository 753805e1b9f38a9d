"""Which published model a run's network is."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from sst.checkpoints.facts import own_network
from sst.checkpoints.published import published_names
from sst.utils.errors import UserError
from standings.entries import OPTIONS, RIVALS, Entry

IGNORED = ('backend', 'attention_dtype')  # they change no result


def model_of(options: Mapping[str, Any]) -> str:
    """The name of a run's network in the paper's tables, or its type if it is none of them."""
    network = options.get('network_g') or {}
    kind, scale = network.get('type', '?'), options.get('scale')
    try:
        if own_network(kind):
            return next(iter(published_names(network)), f'{kind} (own size)')
        same = (name for name, other in _rivals(kind, scale).items() if other == _comparable(network))
        return next(same, kind)
    except UserError:
        return kind


@cache
def _rivals(kind: str, scale: int) -> dict[str, dict[str, Any]]:
    """`network_g` of each rival of a type that can be built here."""
    found = {}
    for name in RIVALS:
        model = yaml.safe_load((OPTIONS / '_base_' / 'models' / f'{name}.yml').read_text(encoding='utf-8'))
        if model['network_g'].get('type', kind) == kind:  # those without build on another
            found[name] = _comparable(Entry(name, scale).options()['network_g'])
    return found


def _comparable(network: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in network.items() if key not in IGNORED}
