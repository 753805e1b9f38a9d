"""SST, the scalable super-resolution Transformer (arXiv 2603.06738): the whole network."""

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.layers import Conv2d, ConvFFN
from sst.archs.shapes import below, expansion_of, indices, part_recognised
from sst.archs.sst_options import SSTOptions
from sst.archs.window_attention import attention_of_layer
from sst.archs.window_network import Layer, WindowNetwork, run_layer
from sst.options.registries import BIASES, GATES, UPSAMPLERS


@ARCH_REGISTRY.register()
class SST(WindowNetwork):
    """The network, from LR to SR images.

    It takes the fields of `SST.Options` as keywords (`scale`, `dim`, `num_blocks`, `window_sizes`, `num_heads`,
    `ffn_expansion`, `bias`, `gate`, `upsampler`, `backend`, `attention_dtype`); the defaults are SST-light at x2.

    Raises:
        OptionsError: fields are unknown, wrong or contradictory.
    """

    Options = SSTOptions

    def __init__(self, **options) -> None:
        super().__init__(SSTOptions.parse(options).model_dump())
        options, dim = self.options, self.options['dim']
        self.stem = Conv2d(3, dim, 3)
        self.blocks = nn.Sequential(*(Block(options) for _ in range(options['num_blocks'])))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.conv = Conv2d(dim, dim, 3)
        self.upsampler = UPSAMPLERS.build(options['upsampler'], dim=dim, scale=self.scale)
        self.apply(initialise)

    def body(self, x: Tensor) -> Tensor:
        return self.blocks(x)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        first = 'blocks.0.layers.0.'
        if not {'stem.weight', 'norm.weight', f'{first}ffn.expand.weight', f'{first}attn.qkv.weight'} <= state.keys():
            return None
        layers = len(indices(state, 'blocks.0.layers.'))
        dim = state['norm.weight'].shape[0]
        bias = part_recognised(BIASES, [below(state, f'blocks.0.layers.{i}.attn.bias.') for i in range(layers)])
        upsampler = part_recognised(UPSAMPLERS, below(state, 'upsampler.'))
        unknown, scale = (None,) * layers, upsampler.pop('scale', None)
        return {
            'type': 'SST',
            'dim': dim,
            'num_blocks': len(indices(state, 'blocks.')),
            'window_sizes': bias.pop('window_sizes', unknown),
            'num_heads': bias.pop('num_heads', unknown),
            'ffn_expansion': expansion_of(state[f'{first}ffn.expand.weight'].shape[0], dim),
            'bias': bias,
            'gate': part_recognised(GATES, below(state, f'{first}attn.gate.'))['type'],
            'upsampler': upsampler,
            'scale': scale,
        }


class Block(nn.Module):
    """x + conv3x3(layers(x)); the windows of the layers follow the cyclic window strategy."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(SSTLayer(options, index) for index in range(len(options['window_sizes']))))
        self.conv = Conv2d(options['dim'], options['dim'], 3)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers:
            y = run_layer(layer, y)
        return x + self.conv(y)


class SSTLayer(Layer):
    """x + Attention(LN(x)), then x + ConvFFN(LN(x))."""

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.attn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention_of_layer(options, index)
        self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = ConvFFN(dim, int(dim * options['ffn_expansion']))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn.bias.features(x)
        x = self.attn(self.attn_norm(x), skip=x)
        return self.ffn(x, self.ffn_norm, skip=x)


def initialise(module: nn.Module) -> None:
    """Linear weights: truncated normal with std 0.02. Convolution weights: torch's default. Biases: 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)
