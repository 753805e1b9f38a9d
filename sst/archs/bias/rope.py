"""RoPE-ViT's "mixed" rotary embedding with learnt frequencies (ablation)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sst.archs.bias.base import PositionalBias, Released
from sst.ops import Rotation
from sst.options.registries import BIASES


@BIASES.register()
class RoPE(PositionalBias):
    """Rotary embedding with learnt frequencies.

    It rotates channel pair j of q and k of the token at pixel (x, y) by x fx_j + y fy_j. Frequencies start with
    magnitudes 10^(-k / d'), k = 0, 4, ... < d', at one random angle per head; d' is the head size rounded up to a
    multiple of 4.
    """

    released = Released('RoPEViT', names={'attn.rope_freqs': 'frequencies'})

    def __init__(self, window: int, num_heads: int, dim: int) -> None:
        super().__init__()
        self.window = window
        size = -(-(dim // num_heads) // 4) * 4
        magnitude = 10.0 ** (-torch.arange(0, size, 4) / size)  # (d' / 4,)
        angle = torch.rand(num_heads, 1) * 2 * math.pi
        angles = torch.cat((angle.expand(-1, size // 4), angle.expand(-1, size // 4) + math.pi / 2), dim=-1)
        self.frequencies = nn.Parameter(
            torch.stack((angles.cos(), angles.sin())) * magnitude.repeat(2)
        )  # (2, heads, d'/2)

    def rotation(self) -> Rotation:
        axis = torch.arange(self.window, device=self.frequencies.device, dtype=torch.float32)
        y, x = torch.meshgrid(axis, axis, indexing='ij')
        fx, fy = self.frequencies.float()[:, :, None]  # each (heads, 1, pairs)
        return Rotation(x.reshape(-1, 1) * fx + y.reshape(-1, 1) * fy)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        if 'frequencies' not in layers[0]:
            return None
        return {'num_heads': tuple(layer['frequencies'].shape[1] for layer in layers)}
