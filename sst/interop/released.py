"""Recognises released weights by their names."""

import re
from collections.abc import Mapping

from torch import Tensor

from sst.checkpoints.weights import TRANSLATORS
from sst.interop.official import convert_state_dict, is_released
from sst.interop.released_real import convert_real, gate_in, is_released_real


def ours_of_released(state: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Released weights under our names; None for other weights. Raises ValueError for an unknown name."""
    if is_released_real(state):
        return convert_real(state, {'gate': gate_in(state)})
    return convert_state_dict(state, released_structure(state)) if is_released(state) else None


def released_structure(state: Mapping[str, Tensor]) -> dict:
    """Infer the part of `network_g` that `convert_state_dict` needs from released weights."""
    layers = {int(m[1]) for name in state if (m := re.match(r'body\.0\.(\d+)\.norm_attn\.', name))}
    blocks = {int(m[1]) for name in state if (m := re.match(r'body\.(\d+)\.0\.norm_attn\.', name))}
    gate = 'CLA' if 'body.0.0.attn.gate.1.weight' in state else 'pointwise'
    gate = gate if 'body.0.0.attn.gate.0.weight' in state else 'none'
    return {'num_blocks': len(blocks), 'window_sizes': [None] * len(layers), 'gate': gate}


TRANSLATORS['released'] = ours_of_released
