"""Positional biases: one small class each, one interface (`PositionalBias`)."""

from sst.archs.bias.base import PositionalBias
from sst.archs.bias.cpe import CPE
from sst.archs.bias.factored import RIB, SIREN, FlashBias
from sst.archs.bias.rope import RoPE
from sst.archs.bias.rpb import RPB

__all__ = ['CPE', 'RIB', 'RPB', 'SIREN', 'FlashBias', 'PositionalBias', 'RoPE', 'build_bias']


def build_bias(options: dict, layer: int, *, window: int, num_heads: int, dim: int) -> PositionalBias:
    """The bias of one layer.

    Args:
        options (dict): the network's `bias` mapping, ranks one per layer.
        layer (int): 0-based index of the layer in its block.
        window (int), num_heads (int), dim (int): of that layer.
    """
    match options['type']:
        case 'RIB':
            return RIB(window, num_heads, options['ranks'][layer], options['hidden'], options['bands'])
        case 'SIREN':
            return SIREN(window, num_heads, options['ranks'][layer], options['hidden'])
        case 'FlashBias':
            return FlashBias(window, num_heads, options['ranks'][layer])
        case 'RPB':
            return RPB(window, num_heads)
        case 'RoPE':
            return RoPE(window, num_heads, dim // num_heads)
        case 'CPE':
            return CPE(dim)
        case 'none':
            return PositionalBias()
        case other:
            raise ValueError(f'unknown bias type {other!r}')
