import pytest
import torch
from helpers import tiny_options
from torch.autograd.graph import saved_tensors_hooks

from sst.archs import SST
from sst.driver.plan import fixed_memory, measure_cost

OPTIONS = tiny_options(window_sizes=[8, 12], num_heads=3)


def on_meta(**options):
    with torch.device('meta'):
        return SST(**options)


def test_activations_are_those_of_a_real_pass():
    net = SST(**OPTIONS).train()
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.rand(2, 3, 24, 24))
    real = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)
    assert measure_cost(on_meta(**OPTIONS), 2, 24).activations == pytest.approx(real, rel=0.01)


def test_multiply_adds_are_those_of_the_formulas():
    size, dim, ffn, heads, scale = 24, 12, 18, 3, 2
    pixels = 2 * size**2
    net = on_meta(**OPTIONS | {'bias': {'type': 'none'}})
    dense = dim * 3 * dim + 2 * dim * dim + 2 * dim * ffn + 9 * (dim + ffn)  # qkv, gate and proj, FFN, depthwise
    attention = sum(2 * dim * window**2 for window in (8, 12))  # q k^T and softmax v
    convolutions = 9 * (3 * dim + (2 + 1) * dim**2 + dim * 3 * scale**2)  # stem, ends of blocks and body, upsampler
    expected = pixels * (2 * (2 * dense + attention) + convolutions)
    assert heads == net.blocks[0].layers[0].attn.num_heads
    assert measure_cost(net, 2, size).multiply_adds == pytest.approx(3 * expected, rel=1e-6)


def test_fixed_memory_counts_weights_gradients_optimiser_and_average():
    net = on_meta(**OPTIONS)
    weights = 4 * sum(p.numel() for p in net.parameters())
    assert fixed_memory(net, {'optim_g': {'type': 'AdamW'}, 'ema_decay': 0.999}) == 5 * weights
    assert fixed_memory(net, {'optim_g': {'type': 'SGD'}, 'ema_decay': 0}) == 2 * weights
