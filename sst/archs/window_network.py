"""Networks from LR to SR images with window attention: their shell."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sst.archs import upsamplers  # noqa: F401 - imported to register its parts
from sst.archs.attention_network import AttentionNetwork, Layer, run_layer
from sst.archs.kernel_choice import fused_layers_are_better
from sst.archs.layers import ConvFFN
from sst.archs.window_options import WindowNetworkOptions
from sst.ops.cuda_graphs import can_be_graphed

__all__ = ['Layer', 'WindowNetwork', 'run_layer']


class WindowNetwork(AttentionNetwork):
    """A network from LR to SR images: stem, body, LayerNorm, convolution, skip and upsampler.

    A subclass builds `stem`, `blocks`, `norm`, `conv` and `upsampler`.

    Args:
        options (dict): the checked options of the network.
    """

    Options: ClassVar[type[WindowNetworkOptions]]
    blocks: nn.Sequential | nn.ModuleList
    norm: nn.LayerNorm
    conv: nn.Conv2d
    upsampler: nn.Module

    @classmethod
    @abstractmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """`network_g` as far as the shapes of weights tell it, with None for what they leave open.

        Returns:
            dict | None: None if they are not weights of this network.
        """

    @abstractmethod
    def body(self, x: Tensor) -> Tensor:
        """The blocks, from a map (B, H, W, C) to one of the same shape."""

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
        features = shallow + self.conv(self.norm(self.body(shallow)))
        return self.upsampler(features, image).to(lr.dtype).permute(0, 3, 1, 2).contiguous()

    @property
    def widest(self) -> int:
        """Channels of the widest map between the stem and the upsampler."""
        dim = self.options['dim']
        padding = max((attention.num_heads * attention.padding for attention in self.attentions()), default=0)
        return max(3 * (dim + padding), int(dim * self.options['ffn_expansion']))

    def fused_is_better(self, dtype: torch.dtype) -> bool:
        layer: Any = next(layer for layer in self.layers() if hasattr(layer, 'attn'))
        return fused_layers_are_better(layer, dtype, self.stem.weight.device)

    def fuse_training(self) -> None:
        """Compute the depthwise step of each ConvFFN by kernels with gradients in training, wherever they can."""
        for module in self.modules():
            if isinstance(module, ConvFFN):
                module.fused_training = True

    def _tables(self) -> list:
        """What all layers keep beside their weights: positional tables, and padded weights where they have them."""
        return [(a.bias.tables(), a.padded_weights() if a.padding else None) for a in self.attentions()]
