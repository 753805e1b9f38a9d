"""Tells from names and shapes of weights which published network they belong to."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sst.options.registries import NETWORKS, scale_in
from sst.rivals.any_spandrel_arch import described
from sst.rivals.sizes import MARKS, PUBLISHED, published
from sst.utils.errors import UserError
from sst.utils.meta import on_meta

SCALES = (2, 3, 4)
# Index and mask buffers. A network computes them itself, so a file may hold them, or not, or for another image size.
COMPUTED = re.compile(r'(^|\.)(relative_position_index|relative_coords|relative_coords_table|attn_mask)(_\w+)?$')
Shapes = dict[str, torch.Size]


@dataclass(frozen=True)
class Published:
    """A published network."""

    name: str
    scale: int

    @property
    def network(self) -> dict[str, Any]:
        """Its `network_g`."""
        return published(self.name, self.scale)

    def __str__(self) -> str:
        return f'{self.name} at x{self.scale}'


def recognised(state: Mapping[str, Tensor]) -> list[Published]:
    """The published networks, at x2, x3 or x4, whose weights have these names and shapes; almost always one or none."""
    kinds = kinds_of(state)
    names = [name for name, network in PUBLISHED.items() if network['type'] in kinds]
    found = _shapes_of(state)
    return [Published(name, scale) for name in names for scale in SCALES if _published_shapes(name, scale) == found]


def kinds_of(state: Mapping[str, Tensor]) -> list[str]:
    """The types of networks that weights may belong to, by a name that each has."""
    return [kind for kind, mark in MARKS.items() if mark in state]


def differences(state: Mapping[str, Tensor], network: Mapping[str, Any]) -> str:
    """Which options the weights would need in place of those of `network_g`.

    '' unless the weights are of a published size, of this size at another scale, or of a network that spandrel knows.
    """
    known = recognised(state)
    if known and all(item.network['type'] != network['type'] for item in known):
        return f'the file holds {" or ".join(map(str, known))}'
    theirs = [item.network for item in known] or _at_other_scales(state, network) or _by_spandrel(state, network)
    if not theirs:
        return ''
    in_file, given = _complete(theirs[0]), _complete(network)
    different = [key for key in in_file if in_file[key] != given.get(key)]
    return '; '.join(f'{key} is {in_file[key]} in the file, {given.get(key)} in network_g' for key in different)


def _at_other_scales(state: Mapping[str, Tensor], network: Mapping[str, Any]) -> list[dict[str, Any]]:
    key, _ = scale_in(_complete(network))
    others = [{**network, key: scale} for scale in SCALES] if key else []
    found = _shapes_of(state)
    return [other for other in others if _built_shapes(other) == found]


def _by_spandrel(state: Mapping[str, Tensor], network: Mapping[str, Any]) -> list[dict[str, Any]]:
    if network['type'] != 'SpandrelModel':
        return []
    with suppress(UserError):
        found = described(state)
        return [found] if found else []
    return []


def _complete(network: Mapping[str, Any]) -> dict[str, Any]:
    """`network_g` with the defaults of what it leaves out, and spandrel's hyperparameters beside the other keys."""
    fields = NETWORKS.section(network['type']).model_fields
    options = {key: field.get_default() for key, field in fields.items()} | dict(network)
    return options | (options.pop('hyperparameters', None) or {})


@cache
def _published_shapes(name: str, scale: int) -> Shapes:
    return _built_shapes(published(name, scale))


def _built_shapes(network: Mapping[str, Any]) -> Shapes:
    """Names and shapes of a network's weights; none where it refuses its options or cannot be built on `meta`."""
    arguments = dict(network)
    try:
        with on_meta():
            return _shapes_of(NETWORKS[arguments.pop('type')](**arguments).state_dict())
    except Exception:  # constructors of other people raise anything
        return {}


def _shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    return {name: value.shape for name, value in state.items() if not COMPUTED.search(name)}
