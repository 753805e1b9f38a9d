"""ESC-RIB: published sizes, initialisation, batches, sizes, gradients, backends, inference and refusals."""

import copy

import pytest
import torch
from basicsr.archs import build_network
from helpers import assert_close, picture, tiny_escrib
from hypothesis import given, settings
from hypothesis import strategies as st
from rival_checks import check_batch, check_gradients, check_training_step, on_meta, parameters
from torch import nn

from sst.archs import ESCRIB
from sst.archs.bias import PositionalBias
from sst.archs.conv_attention import DynamicKernel
from sst.checkpoints.published import PUBLISHED
from sst.ops.backends import fused
from sst.options import OptionsError

COUNTS = {2: 1_007_796, 3: 1_016_451, 4: 1_028_568}
BIASES = {
    'RIB': {'type': 'RIB', 'ranks': 2, 'hidden': 8, 'bands': 4},
    'SIREN': {'type': 'SIREN', 'ranks': 2, 'hidden': 8},
    'FlashBias': {'type': 'FlashBias', 'ranks': [3]},
    'RPB': {'type': 'RPB'},
    'RoPE': {'type': 'RoPE'},
    'CPE': {'type': 'CPE'},
    'none': {'type': 'none'},
}


def lively(**changes):
    """A network whose dynamic kernels are not zero, as they are at first."""
    net = ESCRIB(**tiny_escrib(**changes))
    for module in net.modules():
        if isinstance(module, DynamicKernel):
            module.dwc_proj[3].reset_parameters()
    return net


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    for net in (on_meta(ESCRIB, **PUBLISHED['ESC-RIB'], scale=scale), on_meta(ESCRIB, scale=scale)):
        assert parameters(net, frozen=False) == COUNTS[scale]
        assert len(net.state_dict()) == 439


def test_initialisation():
    net = ESCRIB(dim=16, pdim=4, kernel_size=5, num_blocks=1, conv_blocks=1, window_size=8)
    rows = net.plk_filter.flatten(1)
    assert_close(rows @ rows.T, torch.eye(4), 1e-5)
    last = net.blocks[0].convs[0].mix.plk.dwc_proj[3]
    assert not last.weight.any()
    assert not last.bias.any()
    qkv = net.blocks[0].attention.attn.qkv  # torch's defaults: uniform within 1 / sqrt(16), biases too
    for values in (qkv.weight, qkv.bias):
        assert values.abs().max() <= 0.25
        assert values.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.25)
    assert net.blocks[0].attention.attn.bias.query_weight.std().item() == pytest.approx(0.05, rel=0.2)


@settings(max_examples=15)
@given(st.integers(1, 13), st.integers(1, 13), st.sampled_from([2, 3, 4]), st.booleans())
def test_batches_equal_single_images_at_any_size(height, width, scale, use_ln):
    result = check_batch(lively(scale=scale, use_ln=use_ln), height, width, 2e-6)
    assert result.shape == (2, 3, scale * height, scale * width)


def test_training_and_evaluation_compute_the_same():
    net, image = lively(), picture(7, 9, batch=2)
    with torch.no_grad():
        assert torch.equal(net.train()(image), net.eval()(image))


def test_a_kernel_that_was_averaged_already_gives_the_same_output():
    net, image = lively().eval(), picture(7, 9)
    with torch.no_grad():
        before = net(image)
        kernel = net.plk_filter
        turns = [k.rot90(n, (-2, -1)) for k in (kernel, kernel.flip(-1)) for n in range(4)]
        net.plk_filter.copy_(torch.stack(turns).mean(0))
        assert_close(net(image), before, 1e-6)


@pytest.mark.parametrize('gate', ['CLA', 'pointwise', 'none'])
@pytest.mark.parametrize('bias', BIASES)
def test_every_bias_and_gate_trains(bias, gate):
    check_training_step(lively(bias=BIASES[bias], gate=gate, use_ln=True), 2, 6, 7)


def test_gradients_of_the_initial_network_are_finite_and_reach_every_weight():
    net = ESCRIB(**tiny_escrib())
    net(picture(6, 7, batch=2)).square().mean().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert net.plk_filter.grad.any()


def test_gradients_are_those_of_differences():
    net = lively(dim=4, pdim=2, num_blocks=1, conv_blocks=1, window_size=2, num_heads=1)
    net.blocks[0].attention.attn = NoAttention()
    check_gradients(net, 3, 5)


class NoAttention(nn.Module):
    """In place of attention, which computes in float32 and has tests of its own."""

    def __init__(self):
        super().__init__()
        self.bias = PositionalBias()

    def forward(self, x, skip):
        return skip + x


@pytest.mark.parametrize('bias', BIASES)
def test_backends_agree_with_the_reference(bias):
    net = lively(bias=BIASES[bias])
    reference = ESCRIB(**net.options | {'backend': 'reference'})
    reference.load_state_dict(net.state_dict())
    image = picture(9, 7)
    net(image).mean().backward()
    reference(image).mean().backward()
    assert_close(net(image), reference(image), 2e-6)
    for (name, p), q in zip(net.named_parameters(), reference.parameters(), strict=True):
        assert_close(p.grad, q.grad, 1e-3 if 'qkv' in name else 5e-5, name)


def test_recomputed_activations_change_no_gradient():
    net, image = lively(), picture(6, 7)
    again = copy.deepcopy(net)
    again.recompute_activations()
    for each in (net, again):
        each(image).square().mean().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(net.parameters(), again.parameters(), strict=True))


def test_compiles_as_one_graph():
    net, image = lively().eval(), picture(7, 9)
    with torch.no_grad():
        compiled = torch.compile(net, fullgraph=True, backend='eager')
        assert_close(compiled(image), net(image), 1e-6)


@pytest.mark.parametrize(
    ('dtype', 'most'), [(None, 1e-6), (torch.float32, 1e-6), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)], ids=str
)
def test_what_is_added_to_the_picture_is_as_exact_as_the_dtype(dtype, most):
    net, lr = lively().eval(), picture(9, 13)
    table = net.blocks[0].attention.attn.bias.term().q
    with torch.no_grad():
        before = net(lr)
        after = net.optimize_for_inference(dtype)(lr)
    assert torch.equal(net.blocks[0].attention.attn.bias.term().q, table)  # in float32
    assert net.plk_filter.dtype == torch.float32
    skip = nn.functional.interpolate(lr, scale_factor=2)
    assert (after - before).norm() < most * (before - skip).norm()


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize('use_ln', [False, True])
def test_fused_layers_are_the_same_network(use_ln):
    net, lr = lively(num_blocks=1, use_ln=use_ln, attention_dtype='float32').eval(), picture(9, 13, batch=2)
    with torch.no_grad():
        expected = net(lr)
        result = net.optimize_for_inference(torch.float32, fused=True)(lr)
    assert not torch.equal(result, expected)  # they were used
    assert_close(result, expected, 1e-5)


def test_a_backend_that_cannot_serve_is_refused():
    with pytest.raises(ValueError, match='flash'):
        ESCRIB(**tiny_escrib(backend='flash')).check_backend(torch.device('cpu'))


def test_registered_and_driven_by_options():
    net = build_network({'type': 'ESCRIB', **tiny_escrib(backend='sdpa', attention_dtype='float32')})
    attention = net.blocks[1].attention.attn
    assert (attention.backend, attention.dtype, attention.window, attention.shift) == ('sdpa', torch.float32, 4, 0)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'num_heads': 5}, 'num_heads.*5.*12'),
        ({'pdim': 13}, 'pdim.*12.*13'),
        ({'pdim': 1}, 'pdim.*2.*1'),
        ({'kernel_size': 4}, 'kernel_size.*odd.*4'),
        ({'bias': {'type': 'RIB', 'ranks': [2, 4]}}, 'ranks.*one'),
        ({'ffn_expansion': 0.01}, 'ffn_expansion'),
        ({'window_sizes': [4]}, 'window_sizes.*window_size'),
        ({'gate': 'CIA'}, 'gate'),
        ({'pad_to_window': 1}, 'pad_to_window'),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(change, words):
    with pytest.raises(OptionsError, match=words):
        ESCRIB(**tiny_escrib(**change))
