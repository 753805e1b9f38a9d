"""`network_g` of the released SST's option files in our words.

What a bias, a gate or an upsampler is called there, the part itself says (`released`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from sst.options.parts import Registry
from sst.options.registries import BIASES, GATES, UPSAMPLERS

DEFAULTS = {
    'exp_ratio': 2,
    'attn_type': 'RIB',
    'rib_hidden_dim': 64,
    'rib_n_freqs': 10,
    'upscaling_factor': 2,
    'upsampler_type': 'pixelshuffle_direct',
    'gate_type': None,
    'intermediate_dim': 64,
    'ranks': None,
}
# What reads the options of the release's other networks, by their `type` there.
OTHER_NETWORKS: dict[str, Callable[[Mapping], dict]] = {}
REQUIRED = ('dim', 'n_blocks', 'window_sizes', 'num_heads')


def is_released(network_g: Mapping) -> bool:
    """Whether a section `network_g` is that of a released option file."""
    return network_g.get('type') in OTHER_NETWORKS or set(REQUIRED) <= network_g.keys()


def network_options(released: Mapping) -> dict:
    """Our `network_g` for the `network_g` of a released option file.

    Args:
        released (Mapping): its fields; those it leaves out have the released defaults.

    Returns:
        dict: with `type: SST`, or the network that the released `type` means; set its key `backend` to choose the
            attention backend.

    Raises:
        ValueError: for a field or a value that the released code does not have.
    """
    if read := OTHER_NETWORKS.get(released.get('type', '')):
        return read(released)
    given = {key: value for key, value in released.items() if key != 'type' and value is not None}
    fields = DEFAULTS | given  # a null is a field left out
    if unknown := fields.keys() - DEFAULTS.keys() - set(REQUIRED):
        raise ValueError(f'unknown released option field {sorted(unknown)}; known are {[*REQUIRED, *DEFAULTS]}')
    if missing := [key for key in REQUIRED if key not in fields]:
        raise ValueError(f'the released options lack {missing}')
    return {
        'type': 'SST',
        'scale': fields['upscaling_factor'],
        'dim': fields['dim'],
        'num_blocks': fields['n_blocks'],
        'window_sizes': fields['window_sizes'],
        'num_heads': fields['num_heads'],
        'ffn_expansion': fields['exp_ratio'],
        'bias': part_of_release(BIASES, 'attn_type', fields),
        'gate': part_of_release(GATES, 'gate_type', fields)['type'],
        'upsampler': part_of_release(UPSAMPLERS, 'upsampler_type', fields),
    }


def part_of_release(registry: Registry, key: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The part that a released option means, with its options."""
    released = {name: part.released for name, part in registry.items() if 'released' in vars(part)}
    for name, known in released.items():
        if fields[key] in known.types:
            return {'type': name} | {ours: fields[theirs] for theirs, ours in known.fields.items()}
    types = [kind for known in released.values() for kind in known.types]
    raise ValueError(f'released option {key}: {fields[key]!r} is unknown; known are {types}')
