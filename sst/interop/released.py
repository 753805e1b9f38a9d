"""Recognises released weights by their names."""

from collections.abc import Mapping

from torch import Tensor

from sst.archs.shapes import indices
from sst.checkpoints.weights import TRANSLATORS
from sst.interop.official import convert_state_dict, released_type
from sst.interop.released_real import convert_real, gate_in, is_released_real


def ours_of_released(state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Released weights under our names; None for other weights. Raises ValueError for an unknown name."""
    if is_released_real(state):
        return convert_real(state, {'gate': gate_in(state)})
    kind = released_type(state)
    return convert_state_dict(state, released_structure(state, kind)) if kind else None


def released_structure(state: Mapping[str, Tensor], kind: str) -> dict:
    """Infer the part of `network_g` that `convert_state_dict` needs from released weights.

    Args:
        state (Mapping): names to tensors.
        kind (str): the `type` of their network.
    """
    if kind == 'ESCRIB':
        return {'type': kind, 'gate': _gate(state, 'blocks.0.')}
    blocks = {name.split('.')[1] for name in state if name.endswith('.0.norm_attn.weight')}
    layers = len([index for index in indices(state, 'body.0.') if f'body.0.{index}.norm_attn.weight' in state])
    return {'type': kind, 'num_blocks': len(blocks), 'window_sizes': [None] * layers, 'gate': _gate(state, 'body.0.0.')}


def _gate(state: Mapping[str, Tensor], layer: str) -> str:
    if f'{layer}attn.gate.0.weight' not in state:
        return 'none'
    return 'CLA' if f'{layer}attn.gate.1.weight' in state else 'pointwise'


TRANSLATORS['released'] = ours_of_released
