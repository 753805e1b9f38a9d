"""torch's scaled_dot_product_attention, which runs on any device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.backends.base import Inputs, WindowedBackend, concatenated
from sst.ops.terms import Factored


class SDPA(WindowedBackend):
    """Adds the term as a mask if that is faster (inference on the CPU) or the only way (a term without factors).

    Otherwise it concatenates the factors to q and k and pads v, because torch's flash kernels need equal head sizes.
    """

    name = 'sdpa'

    def unsupported(self, inputs: Inputs) -> list[str]:
        return []

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        plain = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if plain and isinstance(inputs.term, Factored) and self._mask_is_faster(inputs):
            return self._head_by_head(q, k, v, inputs.term)
        if inputs.factors is None or self._mask_is_faster(inputs):
            # with four axes, because with three torch takes its slow kernel
            mask = None if inputs.term is None else inputs.term.materialize().to(q.dtype)[None]
            return self._sdpa(q, k, v, mask, scale=inputs.head_dim**-0.5)
        q, k = concatenated(q, k, inputs)
        v = F.pad(v, (0, q.shape[-1] - v.shape[-1]))
        return self._sdpa(q, k, v, None, scale=1.0)[..., : inputs.head_dim]

    def _head_by_head(self, q: Tensor, k: Tensor, v: Tensor, term: Factored) -> Tensor:
        """Attend one head after the other, so that all share the memory of one (N, N) mask."""
        tokens, heads = q.shape[1:3]
        mask, out = q.new_empty(1, 1, tokens, tokens), torch.empty_like(q)
        for head in range(heads):
            torch.mm(term.q[head].to(q.dtype), term.k[head].to(q.dtype).mT, out=mask[0, 0])
            one = slice(head, head + 1)
            out[:, :, one] = self._sdpa(q[:, :, one], k[:, :, one], v[:, :, one], mask, scale=q.shape[-1] ** -0.5)
        return out

    @staticmethod
    def _mask_is_faster(inputs: Inputs) -> bool:
        """On CPUs a (heads, N, N) mask was measured to be faster up to w = 64, unless it needs a gradient."""
        needs_gradient = torch.is_grad_enabled() and inputs.qkv.requires_grad
        return inputs.qkv.device.type == 'cpu' and not needs_gradient and inputs.window <= 64

    @staticmethod
    def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (M, heads, N, d)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)
