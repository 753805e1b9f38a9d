"""Converts and recognises weights of the released SSTReal (`EDMUNet`)."""

import re
from collections.abc import Mapping

from torch import Tensor

from sst.interop.official import CONVERTERS, attention_names, our_shape

MARK = 'map_noise.mlp.0.weight'
NAMES = {
    'map_noise.mlp.0': 'noise_embedding.first',
    'map_noise.mlp.2': 'noise_embedding.second',
    'proj_in': 'stem',
    'proj_lr': 'lr_stem',
    **{
        f'up_{theirs}.{index}': f'{ours}_upsampler.convs.{number}'
        for theirs, ours in (('i', 'middle'), ('f', 'last'))
        for number, index in enumerate((0, 3, 6, 8))
    },
}
BLOCK_NAMES = {'fuse_lr': 'fuse', 'adaLN_modulation': 'modulation', 'out_conv': 'conv'}
FFN_NAMES = {'ffn.w12.0': 'ffn.expand', 'ffn.w12.1': 'ffn.depthwise', 'ffn.w3': 'ffn.project'}


def is_released_real(state: Mapping[str, Tensor]) -> bool:
    """Whether weights have the released names of SSTReal."""
    return any(_bare(name) == MARK for name in state)


def convert_real(released: Mapping[str, Tensor], network_g: Mapping) -> dict[str, Tensor]:
    """As `sst.interop.official.convert_state_dict`, for SSTReal; of `network_g` the gate alone matters."""
    converted = {}
    for name, tensor in released.items():
        ours = _our_name(_bare(name), network_g['gate'])
        converted[ours] = tensor.flatten() if ours.endswith('.gamma') else our_shape(ours, tensor)
    return converted


def gate_in(state: Mapping[str, Tensor]) -> str:
    """The gate of released weights."""
    layer = 'proj_body.0.blocks.0.attn.gate.'
    names = {_bare(name) for name in state}
    if f'{layer}1.weight' in names:
        return 'CLA'
    return 'pointwise' if f'{layer}0.weight' in names else 'none'


def _bare(name: str) -> str:
    """A released name without what DistributedDataParallel and the release put in front."""
    return name.removeprefix('module.').removeprefix('model.')


def _our_name(name: str, gate: str) -> str:
    path, _, kind = name.rpartition('.')
    if path in NAMES:
        return f'{NAMES[path]}.{kind}'
    if match := re.fullmatch(r'proj_body\.(\d+)\.gamma', name):
        return f'blocks.{match[1]}.gamma'
    if (match := re.fullmatch(r'proj_body\.(\d+)\.(\w+)', path)) and match[2] in BLOCK_NAMES:
        return f'blocks.{match[1]}.{BLOCK_NAMES[match[2]]}.{kind}'
    if match := re.fullmatch(r'proj_body\.(\d+)\.blocks\.(\d+)\.(.+)', name):
        block, layer, rest = match.groups()
        stem = rest.removesuffix('.weight').removesuffix('.bias')
        names = FFN_NAMES | attention_names(gate)
        if stem in names:
            return f'blocks.{block}.layers.{layer}.{names[stem]}{rest.removeprefix(stem)}'
    raise ValueError(f'{name!r} is not a weight of a released SSTReal with gate {gate}')


CONVERTERS['SSTReal'] = convert_real
