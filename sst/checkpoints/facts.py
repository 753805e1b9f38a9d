"""What the shapes of weights say about one of our networks, and what they leave open.

The networks tell it themselves, by their `recognise`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sst.archs import WindowNetwork
from sst.options.registries import NETWORKS


@dataclass(frozen=True)
class Facts:
    """What shapes say about a network: its `network_g`, with None for what they leave open.

    An option with one entry per layer that is left open is a tuple of None.
    """

    options: Mapping[str, Any]

    @property
    def type(self) -> str:
        return self.options['type']

    @property
    def scale(self) -> int | None:
        return self.options['scale']

    def with_scale(self, scale: int | None) -> 'Facts':
        """The same network at another scale."""
        return Facts({**self.options, 'scale': scale})

    def named(self) -> Iterator[tuple[str, Any]]:
        """Names and values of what is known, those of the parts' options and the number of layers included."""
        for key, value in self.options.items():
            if key == 'window_sizes':
                yield 'layers', len(value)
            if isinstance(value, Mapping):
                yield key, value['type']
                yield from ((name, item) for name, item in value.items() if name != 'type')
            elif not is_open(value) and key != 'type':
                yield key, value

    def __str__(self) -> str:
        return f'{self.type} of {", ".join(f"{name} {plain(value)}" for name, value in self.named())}'


def own_network(kind: object) -> type[WindowNetwork] | None:
    """The network of ours with that `type`, whose shapes tell its options; None if there is none."""
    found = NETWORKS.get(kind) if isinstance(kind, str) else None
    return found if isinstance(found, type) and issubclass(found, WindowNetwork) else None


def facts(state: Mapping[str, Tensor]) -> Facts | None:
    """Read the facts off a state dict under our names; None if it is of no network of ours."""
    for kind in NETWORKS:
        network = own_network(kind)
        try:
            found = network.recognise(state) if network else None
        except (LookupError, ValueError):  # a name or a dimension that the network has
            continue
        if found:
            return Facts(found)
    return None


def network_of(found: Facts, stated: Mapping[str, object]) -> dict:
    """`network_g` from facts and from what no shape tells.

    Args:
        found (Facts): of the weights.
        stated (Mapping): what `untold` names.
    """
    return {key: stated[key] if is_open(value) else value for key, value in found.options.items()}


def untold(found: Facts) -> tuple[str, ...]:
    """Which options of the network no shape of these weights tells."""
    return tuple(key for key, value in found.options.items() if is_open(value))


def is_open(value: object) -> bool:
    """Whether a value of `Facts.options` is left open."""
    return value is None or (isinstance(value, tuple) and None in value)


def plain(value: object) -> str:
    """A fact for a message; a tuple of equal entries is one number."""
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else ' '.join(map(str, value))
    return 'unknown' if value is None else str(value)
