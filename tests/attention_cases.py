"""Inputs of window attention, and the comparison of a backend with the reference: values and all gradients."""

import torch
from helpers import assert_close
from torch import Tensor

from sst.ops import Factored, RelativeTable, Rotation, window_attention

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def make_inputs(
    height, width, window=8, heads=2, head_dim=16, rank=16, batch=1, kind='factored', gated=True,
    dtype=torch.float32, device='cpu',
) -> dict[str, Tensor]:  # fmt: skip
    """Leaves that require gradients, by name: qkv, the weights of a term or a rotation, and the gate."""

    def leaf(*shape, scale=1.0, dtype=torch.float32):
        return (torch.randn(*shape, device=device) * scale).to(dtype).requires_grad_()

    leaves = {'qkv': leaf(batch, height, width, 3 * heads * head_dim, dtype=dtype)}
    if gated:
        leaves['gate'] = leaf(batch, height, width, heads * head_dim, dtype=dtype)
    factor = dtype if dtype == torch.float64 else torch.float32
    if kind == 'factored' and rank:  # of unit variance as logits, whatever the rank
        leaves |= {
            name: leaf(heads, window**2, rank, scale=rank**-0.25, dtype=factor) for name in ('factor_q', 'factor_k')
        }
    elif kind == 'table':
        leaves['table'] = leaf(heads, (2 * window - 1) ** 2)
    elif kind == 'rotation':
        leaves['angle'] = leaf(heads, window**2, -(-head_dim // 4) * 2)
    return leaves


def attend(leaves, window=8, heads=2, term=None, **options) -> Tensor:
    """`window_attention` of leaves; `term` replaces theirs."""
    if 'factor_q' in leaves and term is None:
        term = Factored(leaves['factor_q'], leaves['factor_k'])
    if 'table' in leaves:
        term = RelativeTable(leaves['table'], window)
    rotation = Rotation(leaves['angle']) if 'angle' in leaves else None
    return window_attention(leaves['qkv'], window, heads, term, rotation=rotation, gate=leaves.get('gate'), **options)


def run(leaves, *arguments, **options) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and the gradient of every leaf."""
    out = attend(leaves, *arguments, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).reshape(out.shape)
    gradients = torch.autograd.grad((out * weight).sum(), list(leaves.values()))
    return out, dict(zip(leaves, gradients, strict=True))


def compare(backend, leaves, window, tolerance, gradient_tolerance=None, dtype=None, **options) -> None:
    """Values and gradients of a backend that computes in `dtype` against the reference."""
    out, gradients = run(leaves, window, backend=backend, dtype=dtype, **options)
    expected, expected_gradients = run(leaves, window, backend='reference', **options)
    assert out.dtype == leaves['qkv'].dtype
    assert_close(out, expected, tolerance, 'output')
    # On a map of one pixel all keys are equal: the gradients of logits vanish, except for rounding.
    floor = max(gradient.norm().item() for gradient in expected_gradients.values())
    for name, gradient in gradients.items():
        assert gradient.dtype == leaves[name].dtype
        assert_close(gradient, expected_gradients[name], gradient_tolerance or tolerance, f'gradient of {name}', floor)
