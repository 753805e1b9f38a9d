"""Converts weights of the released SST files to our names.

The released names of a bias, a gate or an upsampler are in the attribute `released` of its class.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sst.options.registries import BIASES, GATES, UPSAMPLERS
from sst.options.released import network_options

__all__ = ['convert_state_dict', 'is_released', 'network_options']

# What converts the weights of the release's other networks, by our `type`.
CONVERTERS: dict[str, Callable[[Mapping[str, Tensor], Mapping], dict[str, Tensor]]] = {}
# Released name of a layer's parameter -> ours. The weights of 1x1 convolutions become those of linear layers.
LAYER_NAMES = {
    'norm_attn': 'attn_norm',
    'norm_ffn': 'ffn_norm',
    'attn.to_qkv': 'attn.qkv',
    'attn.to_out': 'attn.proj',
    'ffn.proj': 'ffn.expand',
    'ffn.dwc': 'ffn.depthwise',
    'ffn.agg': 'ffn.project',
}


def is_released(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether weights have the released names."""
    return 'proj.weight' in state_dict and any(name.startswith('body.0.') for name in state_dict)


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
    num_blocks, num_layers, gate = network_g['num_blocks'], len(network_g['window_sizes']), network_g['gate']
    converted = {}
    for name, tensor in released.items():
        # a DistributedDataParallel wrapper adds 'module.' to names
        ours = _our_name(name.removeprefix('module.'), num_blocks, num_layers, gate)
        converted[ours] = our_shape(ours, tensor)
    return converted


def _our_name(name: str, num_blocks: int, num_layers: int, gate: str) -> str:
    """Our name for a released one."""
    path, _, kind = name.rpartition('.')
    if path == 'proj':
        return f'stem.{kind}'
    if path.startswith('upsampler.'):
        part = path.removeprefix('upsampler.')
        names = names_of(UPSAMPLERS)
        if part in names:
            return f'upsampler.{names[part]}.{kind}'
    if match := re.fullmatch(r'body\.(\d+)\.(weight|bias)', name):
        end = {num_blocks: 'norm', num_blocks + 1: 'conv'}.get(int(match[1]))
        if end:
            return f'{end}.{kind}'
    if match := re.fullmatch(r'body\.(\d+)\.(\d+)\.(.+)', name):
        block, layer, rest = int(match[1]), int(match[2]), match[3]
        if layer == num_layers and rest in ('weight', 'bias'):
            return f'blocks.{block}.conv.{rest}'
        stem = rest.removesuffix('.weight').removesuffix('.bias')
        names = LAYER_NAMES | names_of(BIASES, 'attn.bias.') | names_of({gate: GATES[gate]}, 'attn.gate.')
        if stem in names:
            return f'blocks.{block}.layers.{layer}.{names[stem]}{rest.removeprefix(stem)}'
    raise ValueError(
        f'{name!r} is not a weight of a released SST with {num_blocks} blocks of {num_layers} layers and gate {gate}'
    )


def names_of(parts: Mapping[str, Any], start: str = '') -> dict[str, str]:
    """From released names to our names, of the parameters of all these parts."""
    known = (part.released for part in parts.values() if 'released' in vars(part))
    return {theirs: f'{start}{ours}' for released in known for theirs, ours in released.names.items()}


def our_shape(name: str, tensor: Tensor) -> Tensor:
    """A released tensor in the shape that it has under our name."""
    if name.endswith('bias.hidden_bias'):
        return tensor.flatten()  # (1, hidden)
    if tensor.dim() == 4 and tensor.shape[-2:] == (1, 1):
        return tensor.flatten(1)  # a 1x1 convolution
    return tensor
