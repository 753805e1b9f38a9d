"""`network_g` of the released option files in our words.

What a bias, a gate or an upsampler is called there, the part itself says (`released`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sst.options.faults import shown
from sst.options.parts import Registry
from sst.options.registries import BIASES, GATES, UPSAMPLERS


@dataclass(frozen=True)
class ReleasedNetwork:
    """The fields of a network in released option files.

    Args:
        fields (Mapping): those that only have another name here, and our names for them.
        required (tuple): those that a file must have.
        others (Mapping): the fields that are left, and what they are if a file leaves them out.
    """

    fields: Mapping[str, str]
    required: tuple[str, ...]
    others: Mapping[str, Any]


PARTS = {
    'attn_type': 'RIB',
    'rib_hidden_dim': 64,
    'rib_n_freqs': 10,
    'upsampler_type': 'pixelshuffle_direct',
    'gate_type': None,
    'intermediate_dim': 64,
}
SHARED = {'upscaling_factor': 'scale', 'dim': 'dim', 'n_blocks': 'num_blocks'}
HEADS = {'num_heads': 'num_heads', 'exp_ratio': 'ffn_expansion'}
DEFAULTS = {'exp_ratio': 2, 'upscaling_factor': 2}
RELEASED = {
    'SST': ReleasedNetwork(
        SHARED | {'window_sizes': 'window_sizes'} | HEADS,
        ('dim', 'n_blocks', 'window_sizes', 'num_heads'),
        PARTS | DEFAULTS | {'ranks': None},
    ),
    'ESCRIB': ReleasedNetwork(
        SHARED
        | {'pdim': 'pdim', 'kernel_size': 'kernel_size', 'conv_blocks': 'conv_blocks', 'window_size': 'window_size'}
        | HEADS
        | {'use_ln': 'use_ln'},
        ('dim', 'pdim', 'kernel_size', 'n_blocks', 'conv_blocks', 'window_size', 'num_heads'),
        PARTS | DEFAULTS | {'attn_type': 'Flex', 'use_ln': False, 'rank': None, 'flashbias_rank': None},
    ),
}


# What reads the options of the release's other networks, by their `type` there.
OTHER_NETWORKS: dict[str, Callable[[Mapping], dict]] = {}


def released_kind(network: Mapping) -> str | None:
    """`type` of the network of ours whose released fields these are; None if they are not those of a release."""
    if _reader(network):
        return network['type']
    kind = _kind(network)
    return kind if set(RELEASED[kind].required) <= network.keys() and 'n_blocks' in network else None


def network_options(released: Mapping) -> dict:
    """Our `network_g` for the `network_g` of a released option file.

    Args:
        released (Mapping): its fields; those it leaves out have the released defaults. `type: ESCRIB` stands for
            ESC-RIB, every other type for SST.

    Returns:
        dict: with `type: SST` or `type: ESCRIB`; set its key `backend` to choose the attention backend.

    Raises:
        ValueError: for a field or a value that the released code does not have.
    """
    if read := _reader(released):
        return read(released)
    if not isinstance(named := released.get('type'), str | None):
        raise ValueError(f'type: must be the name of a network, not {shown(named)}')
    kind = _kind(released)
    known = RELEASED[kind]
    given = {key: value for key, value in released.items() if key != 'type' and value is not None}
    fields = dict(known.others) | given  # a null is a field left out
    names = list(dict.fromkeys([*known.required, *known.others]))
    if unknown := fields.keys() - set(names):
        raise ValueError(f'unknown released option field {sorted(unknown)}; known are {names}')
    if missing := [key for key in known.required if key not in fields]:
        raise ValueError(f'the released options lack {missing}')
    if kind == 'ESCRIB':
        fields |= {'ranks': _rank(fields)}
        if fields['attn_type'] == 'CPE':
            raise ValueError('released option attn_type: the released ESC-RIB has no CPE')
    return {
        'type': kind,
        **{ours: fields[theirs] for theirs, ours in known.fields.items()},
        'bias': part_of_release(BIASES, 'attn_type', fields),
        'gate': part_of_release(GATES, 'gate_type', fields)['type'],
        'upsampler': part_of_release(UPSAMPLERS, 'upsampler_type', fields),
    }


def _reader(network: Mapping) -> Callable[[Mapping], dict] | None:
    kind = network.get('type')
    return OTHER_NETWORKS.get(kind) if isinstance(kind, str) else None


def _kind(network: Mapping) -> str:
    return 'ESCRIB' if network.get('type') == 'ESCRIB' else 'SST'


def _rank(fields: Mapping[str, Any]) -> int:
    """The rank of the released ESC-RIB; without one, head and rank have 256 channels together."""
    given = fields['rank'] or fields['flashbias_rank']
    return given or 256 - whole_number(fields, 'dim', least=1) // whole_number(fields, 'num_heads', least=1)


def whole_number(fields: Mapping[str, Any], key: str, least: int) -> int:
    """A field that others follow from. Raises ValueError if it is no integer, or less than the least."""
    value = fields[key]
    if type(value) is not int or value < least:
        raise ValueError(f'released option {key}: must be an integer of at least {least}, not {shown(value)}')
    return value


def part_of_release(registry: Registry, key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The part that a released option means, with its options."""
    released = {name: part.released for name, part in registry.items() if 'released' in vars(part)}
    for name, known in released.items():
        if fields[key] in known.types:
            return {'type': name} | {ours: fields[theirs] for theirs, ours in known.fields.items()}
    types = [kind for known in released.values() for kind in known.types]
    raise ValueError(f'released option {key}: {fields[key]!r} is unknown; known are {types}')
