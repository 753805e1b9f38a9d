"""The fused kernels on the map of a whole image, in half precision; the same test at a small size without a GPU."""

import pytest
import torch
from attention_cases import DEVICE, make_inputs
from helpers import assert_close

from sst.ops import Factored, window_attention
from sst.ops.backends import fused

pytestmark = pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')

ON_GPU = DEVICE == 'cuda'
HEIGHT, WIDTH = (360, 640) if ON_GPU else (13, 21)  # on a GPU LR for an image of 1280 x 720
WINDOW = 96 if ON_GPU else 8
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2}  # relative L2 error


def reference_by_parts(leaves, window, heads, grad):
    """Result and gradients in float32, window by window and head by head: all logits at once take too much memory.

    A window at the border is filled by reflection of its own pixels, so windows of an unshifted map are independent.
    """
    qkv, gate, *factors = (leaves[name].float() for name in ('qkv', 'gate', 'factor_q', 'factor_k'))
    _, height, width, channels = gate.shape
    size = channels // heads
    out, d_qkv, d_gate = torch.empty_like(gate), torch.empty_like(qkv), torch.empty_like(gate)
    d_factors = [torch.zeros_like(factor) for factor in factors]
    for top in range(0, height, window):
        for left in range(0, width, window):
            for head in range(heads):
                part = (slice(None), slice(top, top + window), slice(left, left + window))
                lanes = [slice(at * channels + head * size, at * channels + (head + 1) * size) for at in range(3)]
                tensors = [
                    torch.cat([qkv[(*part, lane)] for lane in lanes], -1),
                    *(factor[head : head + 1] for factor in factors),
                    gate[(*part, lanes[0])],
                ]
                tensors = [tensor.detach().requires_grad_() for tensor in tensors]
                result = window_attention(
                    tensors[0], window, 1, Factored(*tensors[1:3]), gate=tensors[3], backend='reference'
                )
                out[(*part, lanes[0])] = result.detach()
                gradients = torch.autograd.grad(result, tensors, grad[(*part, lanes[0])].float())
                for lane, gradient in zip(lanes, gradients[0].chunk(3, -1), strict=True):
                    d_qkv[(*part, lane)] = gradient
                for total, gradient in zip(d_factors, gradients[1:3], strict=True):
                    total[head] += gradient[0]
                d_gate[(*part, lanes[0])] = gradients[3]
    return out, [d_qkv, *d_factors, d_gate]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(('head_dim', 'rank', 'heads'), [(32, 32, 6), (30, 34, 6)])  # of SST-L+ and SST+
def test_a_whole_image_agrees_with_the_reference(head_dim, rank, heads, dtype):
    if dtype == torch.bfloat16 and fused.INTERPRETED:
        pytest.skip("Triton's interpreter multiplies bfloat16 wrongly")
    heads = heads if ON_GPU else 2
    leaves = make_inputs(HEIGHT, WIDTH, WINDOW, heads=heads, head_dim=head_dim, rank=rank, dtype=dtype, device=DEVICE)
    grad = torch.randn_like(leaves['gate'])
    tensors = [leaves[name] for name in ('qkv', 'factor_q', 'factor_k', 'gate')]
    out = window_attention(
        tensors[0], WINDOW, heads, Factored(*tensors[1:3]), gate=tensors[3], backend='fused', dtype=dtype
    )
    gradients = torch.autograd.grad(out, tensors, grad)
    expected, right = reference_by_parts(leaves, WINDOW, heads, grad)
    assert_close(out.float(), expected, TOLERANCE[dtype])
    for name, gradient, other in zip(('qkv', 'factor_q', 'factor_k', 'gate'), gradients, right, strict=True):
        assert_close(gradient.float(), other, TOLERANCE[dtype], f'gradient of {name}')
