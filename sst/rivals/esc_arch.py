"""ESC: convolutions with a shared large kernel, and one window attention per block."""

import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.archs.conv_attention import ConvAttention, turned_mean
from sst.archs.layers import Conv2d
from sst.ops.windows import map_windows
from sst.rivals.parts import relative_index

COMMON = {'kernel_size': 13, 'conv_blocks': 5, 'exp_ratio': 1.25}
LIGHT = COMMON | {'dim': 64, 'pdim': 16, 'window_size': 32, 'num_heads': 4, 'use_ln': False}
SIZES = {
    'ESC': LIGHT | {'n_blocks': 5},
    'ESC-light': LIGHT | {'n_blocks': 3},
    'ESC-XL': COMMON | {'dim': 192, 'pdim': 48, 'n_blocks': 8, 'window_size': 48, 'num_heads': 12, 'use_ln': True},
}


@ARCH_REGISTRY.register()
class ESC(nn.Module):
    """Emulating self-attention with convolution for super-resolution, ICCV 2025.

    With f = proj(image): y = to_img(last(blocks(f)) + f), plus the image enlarged to nearest pixels. All convolutional
    attentions share the kernel `plk_filter`, averaged over its eight flips and rotations.

    Args:
        dim (int): channels of the maps.
        pdim (int): channels that the large kernel sees, at most `dim`.
        kernel_size (int): side of the large kernel, odd.
        n_blocks (int): blocks.
        conv_blocks (int): convolutional attentions in a block.
        window_size (int): side of an attention window, in pixels.
        num_heads (int): heads, a divisor of `dim`.
        upscaling_factor (int): 1 to 4, or more.
        exp_ratio (float): hidden channels of the network before a convolutional attention, divided by `dim`.
        attn_type (str): without effect; every published kind computes the same.
        use_ln (bool): normalise before each convolutional attention.

    Raises:
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        dim: int = 64,
        pdim: int = 16,
        kernel_size: int = 13,
        n_blocks: int = 5,
        conv_blocks: int = 5,
        window_size: int = 32,
        num_heads: int = 4,
        upscaling_factor: int = 2,
        exp_ratio: float = 1.25,
        attn_type: str = 'Flex',
        use_ln: bool = False,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'dim must be a multiple of num_heads; {dim} is not one of {num_heads}')
        if not 2 <= pdim <= dim:
            raise ValueError(f'pdim must be 2 to dim ({dim}), not {pdim}')
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, not {kernel_size}')
        self.scale, self.window = upscaling_factor, window_size
        self.plk_filter = nn.Parameter(torch.empty(pdim, pdim, kernel_size, kernel_size))
        nn.init.orthogonal_(self.plk_filter)
        self.proj = Conv2d(3, dim, 3)
        self.blocks = nn.ModuleList(
            Block(dim, pdim, conv_blocks, window_size, num_heads, exp_ratio, use_ln) for _ in range(n_blocks)
        )
        self.last = Conv2d(dim, dim, 3)
        self.to_img = Conv2d(dim, 3 * upscaling_factor**2, 3)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W)."""
        kernel = turned_mean(self.plk_filter)
        index = relative_index(self.window, image.device).T  # key minus query
        first = x = self.proj(image.permute(0, 2, 3, 1))
        for block in self.blocks:
            x = block(x, kernel, index)
        y = self.to_img(self.last(x) + first).permute(0, 3, 1, 2)
        return F.pixel_shuffle(y + image.repeat_interleave(self.scale**2, dim=1), self.scale)


class Block(nn.Module):
    """x = FFN(LN x); x = x + attention(LN x); repeatedly x = x + ConvAttention(FFN(LN? x)); skip + conv(LN x)."""

    def __init__(
        self, dim: int, pdim: int, conv_blocks: int, window: int, heads: int, exp_ratio: float, use_ln: bool
    ) -> None:
        super().__init__()
        self.ln_proj = nn.LayerNorm(dim, eps=1e-6)
        self.proj = ConvFFN(dim, 2 * dim)
        self.ln_attn = nn.LayerNorm(dim, eps=1e-6)
        self.attn = WindowAttention(dim, window, heads)
        self.lns = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) if use_ln else nn.Identity() for _ in range(conv_blocks))
        self.convffns = nn.ModuleList(ConvFFN(dim, int(dim * exp_ratio)) for _ in range(conv_blocks))
        self.pconvs = nn.ModuleList(ConvAttention(dim, pdim) for _ in range(conv_blocks))
        self.ln_out = nn.LayerNorm(dim, eps=1e-6)
        self.conv_out = Conv2d(dim, dim, 3)

    def forward(self, skip: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
        x = self.proj(self.ln_proj(skip))
        x = x + self.attn(self.ln_attn(x), index)
        for norm, ffn, attention in zip(self.lns, self.convffns, self.pconvs, strict=True):
            x = x + attention(ffn(norm(x)), kernel)
        return skip + self.conv_out(self.ln_out(x))


class ConvFFN(nn.Module):
    """u = GELU(proj(x)); aggr(u + GELU(DW(u)))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = Conv2d(dim, hidden, 1)
        self.dwc = Conv2d(hidden, hidden, 3, groups=hidden)
        self.aggr = Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = F.gelu(self.proj(x))
        return self.aggr(u + F.gelu(self.dwc(u)))


class WindowAttention(nn.Module):
    """softmax(q k^T / sqrt(d) + bias) v in windows that are not shifted; the map is extended by reflection."""

    def __init__(self, dim: int, window: int, heads: int) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.relative_position_bias = nn.Parameter(1e-3 * torch.randn(heads, (2 * window - 1) ** 2))
        self.to_qkv = Conv2d(dim, 3 * dim, 1)
        self.to_out = Conv2d(dim, dim, 1)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """`index` (N, N): the offset of each query and key."""
        bias = self.relative_position_bias[:, index]  # (heads, N, N)

        def attend(windows: Tensor) -> Tensor:
            qkv = windows.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, M, heads, N, D)
            q, k, v = qkv.unbind()
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)

        return self.to_out(map_windows(attend, self.to_qkv(x), self.window, 0))
