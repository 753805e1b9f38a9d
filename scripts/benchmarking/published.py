"""SST computed as it was published: the in-run baseline.

The same function of the same weights in the usual style of the field, our own code: maps are (B, C, H, W) in float32,
1x1 projections are convolutions, LayerNorm transposes to channels-last and back, windows are cut and put together by
copies, RIB's tables are recomputed in every pass and concatenated to q and k, v is padded with zeros to their width.
Attention alone is in bfloat16 on CUDA.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarking.costs import parse
from sst.archs.bias import build_bias
from sst.ops import Factored
from sst.ops.windows import reflected_index


class PublishedSST(nn.Module):
    """An SST with RIB and CLA in the published style. Its parameters have the names of `SST`'s.

    Args:
        network (Mapping): `network_g`.

    Raises:
        UserError: the options are faulty or of an ablation.
    """

    def __init__(self, network: Mapping[str, Any]) -> None:
        super().__init__()
        options = parse(network).model_dump()
        dim = options['dim']
        self.stem = convolution(3, dim, 3)
        self.blocks = nn.Sequential(*(Block(options) for _ in range(options['num_blocks'])))
        self.norm = LayerNorm(dim)
        self.conv = convolution(dim, dim, 3)
        self.upsampler = UPSAMPLERS[options['upsampler']['type']](options)

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, scale * H, scale * W)."""
        shallow = self.stem(lr)
        return self.upsampler(shallow + self.conv(self.norm(self.blocks(shallow))), lr)

    def load(self, state: Mapping[str, Tensor]) -> 'PublishedSST':
        """Take the weights of an `SST` of the same options. Returns itself."""
        shapes = {name: value.shape for name, value in self.state_dict().items()}
        self.load_state_dict({name: value.reshape(shapes[name]) for name, value in state.items()})
        return self


def convolution(channels_in: int, channels_out: int, size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, groups=groups)


class LayerNorm(nn.LayerNorm):
    """Over the channels of (B, C, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2).contiguous()


class Block(nn.Module):
    def __init__(self, options: dict) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer(options, index) for index in range(len(options['window_sizes']))))
        self.conv = convolution(options['dim'], options['dim'], 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.layers(x))


class Layer(nn.Module):
    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.attn_norm = LayerNorm(dim)
        self.attn = WindowAttention(options, index)
        self.ffn_norm = LayerNorm(dim)
        self.ffn = ConvFFN(dim, int(dim * options['ffn_expansion']))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        return x + self.ffn(self.ffn_norm(x))


class ConvFFN(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.expand = convolution(dim, hidden, 1)
        self.depthwise = convolution(hidden, hidden, 3, groups=hidden)
        self.project = convolution(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.expand(x))
        return self.project(h + F.gelu(self.depthwise(h)))


class CLA(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = convolution(dim, dim, 3, groups=dim)
        self.pointwise = convolution(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x)).sigmoid()


class WindowAttention(nn.Module):
    """Pads, projects, cuts windows, attends, puts together, crops, gates."""

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim = options['dim']
        self.window, self.heads = options['window_sizes'][index], options['num_heads'][index]
        self.qkv = convolution(dim, 3 * dim, 1)
        self.bias = build_bias(options['bias'], index, window=self.window, num_heads=self.heads, dim=dim)
        self.gate = CLA(dim)
        self.proj = convolution(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = self._pad(x)
        rows, columns = (side // self.window for side in padded.shape[2:])
        q, k, v = self._windows(self.qkv(padded))
        out = self._attend(q, k, v).unflatten(2, (self.window, self.window)).unflatten(0, (-1, rows, columns))
        out = out.permute(0, 3, 6, 1, 4, 2, 5).flatten(1, 2).flatten(2, 3).flatten(3, 4)  # (B, C, H, W)
        return self.proj(out[..., :height, :width] * self.gate(x))

    def _pad(self, x: Tensor) -> Tensor:
        for axis in (2, 3):
            size = x.shape[axis]
            target = -(-size // self.window) * self.window
            if target != size:
                x = x.index_select(axis, reflected_index(size, target, x.device))
        return x

    def _windows(self, qkv: Tensor) -> Tensor:
        """(B, 3C, H, W) to (3, M, heads, N, d)."""
        w = self.window
        parts = qkv.unflatten(3, (-1, w)).unflatten(2, (-1, w)).unflatten(1, (3, self.heads, -1))
        parts = parts.permute(1, 0, 4, 6, 2, 5, 7, 3)  # (3, B, rows, columns, heads, w, w, d)
        return parts.flatten(5, 6).flatten(1, 3).contiguous()

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(M, heads, N, d) each, as is the result."""
        size = q.shape[-1]
        term = self.bias.term()
        assert isinstance(term, Factored), 'parse() guards this call'
        q = torch.cat((q * size**-0.5, term.q.expand(len(q), -1, -1, -1)), dim=-1)
        k = torch.cat((k, term.k.expand(len(k), -1, -1, -1)), dim=-1)
        v = F.pad(v, (0, q.shape[-1] - size))
        dtype = torch.bfloat16 if q.is_cuda else q.dtype
        out = F.scaled_dot_product_attention(q.to(dtype), k.to(dtype), v.to(dtype), scale=1.0)
        return out[..., :size].float()


class PixelShuffleDirect(nn.Module):
    def __init__(self, options: dict) -> None:
        super().__init__()
        self.scale = options['scale']
        self.up = convolution(options['dim'], 3 * self.scale**2, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        return F.pixel_shuffle(self.up(features) + image.repeat_interleave(self.scale**2, dim=1), self.scale)


class PixelShuffle(nn.Module):
    def __init__(self, options: dict) -> None:
        super().__init__()
        self.scale, channels = options['scale'], options['upsampler']['channels']
        self.reduce = convolution(options['dim'], channels, 3)
        self.up = convolution(channels, channels * self.scale**2, 3)
        self.last = convolution(channels, 3, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        x = self.up(F.leaky_relu(self.reduce(features), 0.1))
        return self.last(F.pixel_shuffle(x, self.scale)) + F.interpolate(image, scale_factor=self.scale)


class NearestConv(nn.Module):
    def __init__(self, options: dict) -> None:
        super().__init__()
        dim, channels, scale = options['dim'], options['upsampler']['channels'], options['scale']
        self.steps = (2, 2) if scale == 4 else (scale,)
        self.image_in = convolution(3, dim, 1)
        self.image_conv = convolution(dim, dim, 7)
        self.image_out = convolution(dim, dim, 1)
        self.reduce = convolution(dim, channels, 3)
        self.convs = nn.ModuleList(convolution(channels, channels, 3) for _ in self.steps)
        self.last = convolution(channels, 3, 3)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        x = features + self.image_out(F.leaky_relu(self.image_conv(self.image_in(image)), 0.1))
        x = F.leaky_relu(self.reduce(x), 0.1)
        for step, conv in zip(self.steps, self.convs, strict=True):
            x = F.leaky_relu(conv(F.interpolate(x, scale_factor=step)), 0.1)
        return self.last(x)


UPSAMPLERS: dict[str, type[nn.Module]] = {
    'pixelshuffle_direct': PixelShuffleDirect,
    'pixelshuffle': PixelShuffle,
    'nearest_conv': NearestConv,
}
