"""Attention in windows with a positional bias and a gate, on maps (B, H, W, C)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.archs import gates
from sst.archs.bias import build_bias
from sst.ops import check_backend, norm_linear, window_attention
from sst.ops.attention import default_dtype, select_backend
from sst.ops.backends import BACKENDS
from sst.ops.backends.base import Inputs
from sst.ops.heads import pad_heads
from sst.ops.kernels.layout import worthwhile_padding
from sst.ops.verdicts import Case
from sst.ops.weight_state import KeepsResults
from sst.options.registries import GATES


class WindowAttention(KeepsResults):
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
        self.padding = 0  # channels of zeros after each head of qkv, see `choose_padding`

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        term, rotation = self.bias.tables()
        gate = self.gate(x)
        out = window_attention(
            F.linear(x, *self.padded_weights()) if self.padding else norm_linear(x, None, self.qkv),
            self.window,
            self.num_heads,
            term,
            rotation=rotation,
            gate=gate,
            shift=self.shift,
            padding=self.padding,
            backend=self.backend,
            dtype=self.dtype,
        )
        return norm_linear(out, None, self.proj, skip=skip)

    def padded_weights(self) -> list[Tensor]:
        """Weight and bias of the projection to q, k and v, with rows of zeros after those of each head.

        The weights of the module stay as they are: gradients flow back to them.
        """
        weights = [self.qkv.weight, self.qkv.bias]
        return self.kept(
            lambda: weights, lambda: [pad_heads(w, 3 * self.num_heads, self.padding, dim=0) for w in weights]
        )

    def choose_padding(self, map_dtype: torch.dtype, device: torch.device, gradients: bool) -> None:
        """Have q, k and v projected to padded heads where the fused kernels will compute and read them faster so."""
        self._kept, self.padding = None, 0
        padding = worthwhile_padding(self.proj.in_features // self.num_heads)
        if not padding:
            return
        with torch.set_grad_enabled(gradients):
            chosen = select_backend(self.backend, self._inputs(map_dtype, device, gradients))
        self.padding = padding if chosen.name == 'fused' else 0

    def _inputs(self, map_dtype: torch.dtype, device: torch.device, gradients: bool) -> Inputs:
        """A call of the attention as far as the choice of a backend depends on it."""
        channels = self.proj.in_features
        qkv = torch.empty(1, 1, 1, 3 * channels, device=device, dtype=map_dtype, requires_grad=gradients)
        gate = None if isinstance(self.gate, gates.NoGate) else qkv.detach()[..., :channels]
        dtype = self.dtype or default_dtype(qkv)
        term, rotation = self.bias.tables()
        return Inputs(qkv, self.window, self.num_heads, term, rotation, gate, self.shift, dtype)

    def case(self, map_dtype: torch.dtype, device: torch.device, gradients: bool) -> Case | None:
        """What the choice of the fused kernels depends on; None if they are not to choose or cannot compute this."""
        inputs = self._inputs(map_dtype, device, gradients)
        if self.backend != 'auto' or BACKENDS['fused'].unsupported(inputs):
            return None
        sizes = self.window, self.num_heads, inputs.head_dim, inputs.rank
        return Case(map_dtype, inputs.dtype, *sizes, inputs.gate is not None, gradients)

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
