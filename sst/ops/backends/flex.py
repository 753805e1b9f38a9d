"""torch's FlexAttention, which adds a table of relative positions without a mask of (heads, N, N)."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from sst.ops.backends.base import Inputs, WindowedBackend
from sst.ops.terms import RelativeTable


class Flex(WindowedBackend):
    """Looks each logit's bias up by a `score_mod`, as the paper's ablation of RPB does.

    On CUDA torch compiles a kernel at the first call of each window, which takes about a minute. On the CPU it computes
    logits as a whole, without gradients.
    """

    name = 'flex'

    def automatic(self, inputs: Inputs) -> bool:
        return False

    def unsupported(self, inputs: Inputs) -> list[str]:
        reasons = []
        if not isinstance(inputs.term, RelativeTable):
            found = 'no term' if inputs.term is None else f'a {type(inputs.term).__name__}'
            reasons.append(f'it adds tables of relative positions (bias RPB), not {found}')
        elif inputs.qkv.device.type == 'cpu' and torch.is_grad_enabled() and inputs.term.table.requires_grad:
            reasons.append('on the CPU it has no gradients')
        if inputs.qkv.device.type not in ('cuda', 'cpu'):
            reasons.append(f'it computes on CUDA devices and CPUs, and the input is on {inputs.qkv.device.type}')
        return reasons

    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        assert isinstance(inputs.term, RelativeTable), 'unsupported() guards this call'
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # (M, heads, N, d)
        table = inputs.term.table
        if not torch.is_grad_enabled():  # or it refuses on CPUs
            q, k, v, table = (t.detach() for t in (q, k, v, table))
        whole = q.is_cuda and not torch.compiler.is_compiling()
        function: Callable[..., Tensor] = _compiled() if whole else flex_attention  # type: ignore[assignment]
        out = function(q, k, v, score_mod=_looked_up(table, inputs.window), scale=inputs.head_dim**-0.5)
        return out.transpose(1, 2)


def _looked_up(table: Tensor, window: int) -> Callable[..., Tensor]:
    def score_mod(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        down = key // window - query // window + window - 1
        right = key % window - query % window + window - 1
        return score + table[head, down * (2 * window - 1) + right]

    return score_mod


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(flex_attention, dynamic=False)
