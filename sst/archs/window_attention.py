"""Attention in windows with a positional bias and a gate, on maps (B, H, W, C)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sst.archs import gates
from sst.archs.bias import build_bias
from sst.ops import check_backend, norm_linear, window_attention
from sst.ops.attention import default_dtype
from sst.ops.backends import BACKENDS
from sst.ops.backends.base import Inputs
from sst.ops.verdicts import Case
from sst.options.registries import GATES


class WindowAttention(nn.Module):
    """Multi-head attention in windows with a positional bias and a gate (Eq. 4-11), plus a skip if there is one.

    Args:
        options (Mapping): of the network: `dim`, `bias`, `gate`, `backend` and `attention_dtype`.
        window (int): side of a window, in pixels.
        num_heads (int): heads, a divisor of `dim`.
        layer (int): 0-based index of the layer in its block, for options of the bias that differ by layer.
        shift (int): pixels by which the windows are shifted.
    """

    def __init__(
        self, options: Mapping[str, Any], *, window: int, num_heads: int, layer: int = 0, shift: int = 0
    ) -> None:
        super().__init__()
        dim = options['dim']
        self.window, self.num_heads, self.shift = window, num_heads, shift
        self.backend = options['backend']
        self.dtype = None if options['attention_dtype'] == 'auto' else getattr(torch, options['attention_dtype'])
        self.qkv = nn.Linear(dim, 3 * dim)
        self.bias = build_bias(options['bias'], layer, window=window, num_heads=num_heads, dim=dim)
        self.gate = GATES.build(options['gate'], dim=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        term, rotation = self.bias.tables()
        gate = self.gate(x)
        out = window_attention(
            norm_linear(x, None, self.qkv),
            self.window,
            self.num_heads,
            term,
            rotation=rotation,
            gate=gate,
            shift=self.shift,
            backend=self.backend,
            dtype=self.dtype,
        )
        return norm_linear(out, None, self.proj, skip=skip)

    def case(self, map_dtype: torch.dtype, device: torch.device, gradients: bool) -> Case | None:
        """What the choice of the fused kernels depends on; None if they are not to choose or cannot compute this."""
        term, rotation = self.bias.tables()
        qkv = torch.empty(1, 1, 1, 3 * self.proj.in_features, device=device, dtype=map_dtype)
        inputs = Inputs(
            qkv, self.window, self.num_heads, term, rotation, None, self.shift, self.dtype or default_dtype(qkv)
        )
        if self.backend != 'auto' or BACKENDS['fused'].unsupported(inputs):
            return None
        gated = not isinstance(self.gate, gates.NoGate)
        sizes = self.window, self.num_heads, inputs.head_dim, inputs.rank
        return Case(map_dtype, inputs.dtype, *sizes, gated, gradients)

    def check_backend(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `WindowNetwork.check_backend`."""
        term, rotation = self.bias.tables()
        sizes = {'dim': self.proj.in_features, 'window': self.window, 'num_heads': self.num_heads}
        check_backend(self.backend, device, dtype, **sizes, term=term, rotation=rotation, dtype=self.dtype)


def attention_of_layer(options: Mapping[str, Any], index: int) -> WindowAttention:
    """The attention of a layer of a block with `window_sizes` and `num_heads`; `index` is the layer's, from 0."""
    windows = options['window_sizes']
    window = windows[index]
    # If all windows have one size, every second layer shifts them, so that they exchange information.
    shift = window // 2 if index % 2 and len(set(windows)) == 1 else 0
    return WindowAttention(options, window=window, num_heads=options['num_heads'][index], layer=index, shift=shift)
