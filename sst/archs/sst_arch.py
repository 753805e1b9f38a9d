"""SST, the scalable super-resolution Transformer (arXiv 2603.06738): the whole network."""

from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sst.archs import upsamplers  # noqa: F401 - imported to register its parts
from sst.archs.attention import AttentionNetwork, WindowAttention
from sst.archs.kernel_choice import fused_layers_are_better
from sst.archs.layers import Conv2d, ConvFFN
from sst.archs.sst_options import SSTOptions
from sst.ops.cuda_graphs import can_be_graphed
from sst.options.registries import UPSAMPLERS


@ARCH_REGISTRY.register()
class SST(AttentionNetwork):
    """The network, from LR to SR images.

    It takes the fields of `SST.Options` as keywords (`scale`, `dim`, `num_blocks`, `window_sizes`, `num_heads`,
    `ffn_expansion`, `bias`, `gate`, `upsampler`, `backend`, `attention_dtype`); the defaults are SST-light at x2.

    Raises:
        OptionsError: fields are unknown, wrong or contradictory.
    """

    Options = SSTOptions

    def __init__(self, **options) -> None:
        super().__init__()
        self.options = options = SSTOptions.parse(options).model_dump()
        dim = options['dim']
        self.scale = options['scale']
        self.stem = Conv2d(3, dim, 3)
        self.blocks = nn.Sequential(*(Block(options) for _ in range(options['num_blocks'])))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.conv = Conv2d(dim, dim, 3)
        self.upsampler = UPSAMPLERS.build(options['upsampler'], dim=dim, scale=self.scale)
        self.apply(initialise)

    def forward(self, lr: Tensor) -> Tensor:
        """Enlarge images of any size.

        Args:
            lr (Tensor): (B, 3, H, W), RGB in [0, 1], H and W >= 1.

        Returns:
            Tensor: (B, 3, scale * H, scale * W), not clipped, in the dtype of `lr`.
        """
        if self.graphs is not None and can_be_graphed(lr):
            return self.graphs.run(self._enlarge, lr, self, self._tables)
        return self._enlarge(lr)

    def _enlarge(self, lr: Tensor) -> Tensor:
        image = lr.permute(0, 2, 3, 1).contiguous()  # all maps are (B, H, W, C), in memory too
        shallow = self.stem(image.to(self.stem.weight.dtype))
        features = shallow + self.conv(self.norm(self.blocks(shallow)))
        return self.upsampler(features, image).to(lr.dtype).permute(0, 3, 1, 2).contiguous()

    def _tables(self) -> list:
        """The positional tables of all layers, which the biases keep."""
        return [module.bias.tables() for module in self.modules() if isinstance(module, WindowAttention)]

    def fused_is_better(self, dtype: torch.dtype) -> bool:
        layer: Any = next(module for module in self.modules() if isinstance(module, Layer))
        return fused_layers_are_better(layer, dtype, self.stem.weight.device)


class Block(nn.Module):
    """x + conv3x3(layers(x)); the windows of the layers follow the cyclic window strategy."""

    def __init__(self, options: dict) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer(options, index) for index in range(len(options['window_sizes']))))
        self.conv = Conv2d(options['dim'], options['dim'], 3)
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers:
            again = self.recompute and torch.is_grad_enabled()
            y = checkpoint(layer, y, use_reentrant=False) if again else layer(y)
        return x + self.conv(y)


class Layer(nn.Module):
    """x + Attention(LN(x)), then x + ConvFFN(LN(x))."""

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.attn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attn = WindowAttention(options, index)
        self.ffn_norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = ConvFFN(dim, int(dim * options['ffn_expansion']))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attn.bias.features(x)
        x = x + self.attn(self.attn_norm(x))
        return x + self.ffn(x, self.ffn_norm)


def initialise(module: nn.Module) -> None:
    """Linear weights: truncated normal with std 0.02. Convolution weights: torch's default. Biases: 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)
