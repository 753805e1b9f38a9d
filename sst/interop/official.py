"""Converts weights of the released SST and ESC-RIB files to our names.

The released names of a bias, a gate or an upsampler are in the attribute `released` of its class. `network_options`
converts their option fields.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sst.options.registries import BIASES, GATES, UPSAMPLERS
from sst.options.released import network_options

__all__ = ['convert_state_dict', 'is_released', 'network_options', 'released_type']

# What converts the weights of the release's other networks, by our `type`.
CONVERTERS: dict[str, Callable[[Mapping[str, Tensor], Mapping], dict[str, Tensor]]] = {}
ATTENTION = {'to_qkv': 'qkv', 'to_out': 'proj'}
# Released name of a layer's parameter -> ours. The weights of 1x1 convolutions become those of linear layers.
SST_LAYER = {
    'norm_attn': 'attn_norm',
    'norm_ffn': 'ffn_norm',
    'ffn.proj': 'ffn.expand',
    'ffn.dwc': 'ffn.depthwise',
    'ffn.agg': 'ffn.project',
}
ESCRIB_BLOCK = {
    'ln_proj': 'attention.ffn_norm',
    'proj.proj': 'attention.ffn.expand',
    'proj.dwc': 'attention.ffn.depthwise',
    'proj.aggr': 'attention.ffn.project',
    'ln_attn': 'attention.attn_norm',
    'ln_out': 'norm',
    'conv_out': 'conv',
}
ESCRIB_CONV = {  # `{}` is the number of the convolution in its block
    'lns.{}': 'convs.{}.norm',
    'convffns.{}.proj': 'convs.{}.ffn.expand',
    'convffns.{}.dwc': 'convs.{}.ffn.depthwise',
    'convffns.{}.aggr': 'convs.{}.ffn.project',
    'pconvs.{}.plk.dwc_proj.1': 'convs.{}.mix.plk.dwc_proj.1',
    'pconvs.{}.plk.dwc_proj.3': 'convs.{}.mix.plk.dwc_proj.3',
    'pconvs.{}.aggr': 'convs.{}.mix.aggr',
}
ESCRIB_ENDS = {'proj': 'stem', 'last.0': 'norm', 'last.1': 'conv'}
ESCRIB_MARKS = {'plk_filter', 'proj.weight', 'last.1.weight', 'blocks.0.attn.to_qkv.weight'}


def released_type(state_dict: Mapping[str, Tensor]) -> str | None:
    """The `type` of the network whose released names weights have; None for other names."""
    names = {name.removeprefix('module.') for name in state_dict}
    if names >= ESCRIB_MARKS:
        return 'ESCRIB'
    return 'SST' if 'proj.weight' in names and any(name.startswith('body.0.') for name in names) else None


def is_released(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether weights have the released names."""
    return released_type(state_dict) is not None


def convert_state_dict(released: Mapping[str, Tensor], network_g: Mapping) -> dict[str, Tensor]:
    """Convert released weights to our names and shapes.

    Args:
        released (Mapping): names to tensors, as under `params` or `params_ema` of a released file.
        network_g (Mapping): our options of the network, from `network_options`.

    Returns:
        dict: weights for `load_state_dict` of the network; the tensors share memory with `released`.

    Raises:
        ValueError: no released file has a weight of this name.
    """
    if convert := CONVERTERS.get(network_g.get('type', '')):
        return convert(released, network_g)
    our_name = _escrib_name if network_g.get('type') == 'ESCRIB' else _sst_name
    converted = {}
    for name, tensor in released.items():
        # a DistributedDataParallel wrapper adds 'module.' to names
        ours = _our_name(name.removeprefix('module.'), our_name, network_g)
        converted[ours] = our_shape(ours, tensor)
    return converted


def _our_name(name: str, of_network: Callable[[str, Mapping], str | None], network_g: Mapping) -> str:
    """Our name for a released one."""
    path, stop, kind = name.rpartition('.')
    if kind not in ('weight', 'bias'):  # a parameter without a module
        path, stop, kind = name, '', ''
    upsampler = _names(UPSAMPLERS).get(path.removeprefix('upsampler.')) if path.startswith('upsampler.') else None
    ours = f'upsampler.{upsampler}' if upsampler else of_network(path, network_g)
    if ours is None:
        raise ValueError(f'{name!r} is not a weight of {_described(network_g)}')
    return f'{ours}{stop}{kind}'


def _sst_name(path: str, network_g: Mapping) -> str | None:
    num_blocks, num_layers = network_g['num_blocks'], len(network_g['window_sizes'])
    if path == 'proj':
        return 'stem'
    if match := re.fullmatch(r'body\.(\d+)', path):
        return {num_blocks: 'norm', num_blocks + 1: 'conv'}.get(int(match[1]))
    if match := re.fullmatch(r'body\.(\d+)\.(\d+)', path):
        return f'blocks.{match[1]}.conv' if int(match[2]) == num_layers else None
    if match := re.fullmatch(r'body\.(\d+)\.(\d+)\.(.+)', path):
        ours = (SST_LAYER | attention_names(network_g['gate'])).get(match[3])
        return f'blocks.{match[1]}.layers.{match[2]}.{ours}' if ours else None
    return None


def _escrib_name(path: str, network_g: Mapping) -> str | None:
    if path == 'plk_filter':
        return path
    match = re.fullmatch(r'blocks\.(\d+)\.(.+)', path)
    if not match:
        return ESCRIB_ENDS.get(path)
    block, rest = match.groups()
    attention = attention_names(network_g['gate']).get(rest)
    ours = ESCRIB_BLOCK.get(rest) or (f'attention.{attention}' if attention else None)
    if ours is None and (conv := re.fullmatch(r'(\w+\.)(\d+)(\..+)?', rest)):
        ours = ESCRIB_CONV.get(f'{conv[1]}{{}}{conv[3] or ""}', '').format(conv[2]) or None
    return f'blocks.{block}.{ours}' if ours else None


def attention_names(gate: str) -> dict[str, str]:
    """Released names to ours, of the parameters of an attention with its bias and gate."""
    own = {f'attn.{theirs}': f'attn.{ours}' for theirs, ours in ATTENTION.items()}
    return own | _names(BIASES, 'attn.bias.') | _names({gate: GATES[gate]}, 'attn.gate.')


def _names(parts: Mapping[str, Any], start: str = '') -> dict[str, str]:
    """From released names to our names, of the parameters of all these parts."""
    known = (part.released for part in parts.values() if 'released' in vars(part))
    return {theirs: f'{start}{ours}' for released in known for theirs, ours in released.names.items()}


def _described(network_g: Mapping) -> str:
    if network_g.get('type') == 'ESCRIB':
        return f'a released ESC-RIB with gate {network_g["gate"]}'
    layers = len(network_g['window_sizes'])
    return f'a released SST with {network_g["num_blocks"]} blocks of {layers} layers and gate {network_g["gate"]}'


def our_shape(name: str, tensor: Tensor) -> Tensor:
    """A released tensor in the shape that it has under our name."""
    if name.endswith('bias.hidden_bias'):
        return tensor.flatten()  # (1, hidden)
    if tensor.dim() == 4 and tensor.shape[-2:] == (1, 1) and name != 'plk_filter' and '.mix.' not in name:
        return tensor.flatten(1)  # a 1x1 convolution, which is a linear layer here
    return tensor
