"""ESC-RIB: ESC (ICCV 2025) with windows of 64 x 64 pixels and RIB: the whole network."""

from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.conv_attention import ConvAttention, turned_mean
from sst.archs.escrib_options import ESCRIBOptions
from sst.archs.layers import Conv2d, ConvFFN
from sst.archs.shapes import below, expansion_of, indices, part_recognised
from sst.archs.window_attention import WindowAttention
from sst.archs.window_network import Layer, WindowNetwork, run_layer
from sst.options.registries import BIASES, GATES, UPSAMPLERS


@ARCH_REGISTRY.register()
class ESCRIB(WindowNetwork):
    """The network, from LR to SR images.

    It takes the fields of `ESCRIB.Options` as keywords; the defaults are the published ESC-RIB at x2. All convolutional
    attentions share the kernel `plk_filter`, averaged over its eight flips and rotations. The initial weights are
    torch's defaults, except those of the shared kernel (orthogonal), of the dynamic kernels (0) and of the bias.

    The network extends maps to whole windows in the attention alone. The published evaluation extends the whole image
    first. `sst.inference` does this if the option `pad_to_window` is set.

    Raises:
        OptionsError: fields are unknown, wrong or contradictory.
    """

    Options = ESCRIBOptions

    def __init__(self, **options) -> None:
        super().__init__(ESCRIBOptions.parse(options).model_dump())
        options = self.options
        dim, pdim, kernel_size = options['dim'], options['pdim'], options['kernel_size']
        self.plk_filter = nn.Parameter(torch.empty(pdim, pdim, kernel_size, kernel_size))
        nn.init.orthogonal_(self.plk_filter)
        self.stem = Conv2d(3, dim, 3)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options['num_blocks']))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.conv = Conv2d(dim, dim, 3)
        self.upsampler = UPSAMPLERS.build(options['upsampler'], dim=dim, scale=self.scale)

    def body(self, x: Tensor) -> Tensor:
        kernel = turned_mean(self.plk_filter).to(x.dtype)  # averaged in the dtype of the weights
        for block in self.blocks:
            x = block(x, kernel)
        return x

    @property
    def widest(self) -> int:
        return max(super().widest, 4 * self.options['dim'])

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        first, conv = 'blocks.0.attention.', 'blocks.0.convs.0.'
        needed = {'plk_filter', 'norm.weight', f'{first}attn.qkv.weight', f'{conv}ffn.expand.weight'}
        if not needed <= state.keys():
            return None
        dim = state['norm.weight'].shape[0]
        bias = part_recognised(BIASES, [below(state, f'{first}attn.bias.')])
        upsampler = part_recognised(UPSAMPLERS, below(state, 'upsampler.'))
        scale = upsampler.pop('scale', None)
        return {
            'type': 'ESCRIB',
            'dim': dim,
            'pdim': state['plk_filter'].shape[0],
            'kernel_size': state['plk_filter'].shape[-1],
            'num_blocks': len(indices(state, 'blocks.')),
            'conv_blocks': len(indices(state, 'blocks.0.convs.')),
            'window_size': bias.pop('window_sizes', (None,))[0],
            'num_heads': bias.pop('num_heads', (None,))[0],
            'ffn_expansion': expansion_of(state[f'{conv}ffn.expand.weight'].shape[0], dim),
            'use_ln': f'{conv}norm.weight' in state,
            'bias': bias,
            'gate': part_recognised(GATES, below(state, f'{first}attn.gate.'))['type'],
            'upsampler': upsampler,
            'scale': scale,
        }


class Block(nn.Module):
    """x + conv3x3(LN(y)), where y are the attention and then the convolutions of x."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        dim = options['dim']
        self.attention = AttentionLayer(options)
        self.convs = nn.ModuleList(ConvLayer(options) for _ in range(options['conv_blocks']))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.conv = Conv2d(dim, dim, 3)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        y = run_layer(self.attention, x)
        for conv in self.convs:
            y = run_layer(conv, y, kernel)
        return x + self.conv(self.norm(y))


class AttentionLayer(Layer):
    """x = ConvFFN(LN(x)) with 4 C hidden channels and without a skip, then x + Attention(LN(x))."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        dim = options['dim']
        self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = ConvFFN(dim, 4 * dim)
        self.attn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = WindowAttention(options, window=options['window_size'], num_heads=options['num_heads'])

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn.bias.features(self.ffn(x, self.ffn_norm))
        return x + self.attn(self.attn_norm(x))


class ConvLayer(Layer):
    """x + ConvAttention(ConvFFN(x)), with a LayerNorm before the ConvFFN if `use_ln` is set."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        dim = options['dim']
        self.norm = nn.LayerNorm(dim, eps=1e-6) if options['use_ln'] else None
        self.ffn = ConvFFN(dim, int(dim * options['ffn_expansion']))
        self.mix = ConvAttention(dim, options['pdim'])

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        return x + self.mix(self.ffn(x, self.norm), kernel)
