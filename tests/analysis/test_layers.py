"""Biases, attention distances and gates of layers, against what attention itself computes."""

import pytest
import torch
from helpers import assert_close, picture, tiny_escrib, tiny_options

from sst.analysis import attention_distance, bias_map, bias_spectrum, captured, gate_maps
from sst.analysis.layers import layers_of
from sst.archs import ESCRIB, SST

BIASES = {
    'RIB': {'type': 'RIB', 'ranks': [2, 4], 'hidden': 8, 'bands': 4},
    'FlashBias': {'type': 'FlashBias', 'ranks': [2, 4]},
    'RPB': {'type': 'RPB'},
}
WITHOUT_TERM = ('none', 'CPE', 'RoPE')


def network(**changes) -> SST:
    torch.manual_seed(0)
    net = SST(**tiny_options(**changes)).eval()
    for weight in net.parameters():  # biases that matter
        torch.nn.init.normal_(weight, std=0.3)
    return net


@pytest.mark.parametrize('kind', BIASES)
@pytest.mark.parametrize('query', [None, (0, 3), (2, 1)])
def test_a_bias_map_is_a_row_of_the_bias(kind, query):
    for layer in layers_of(network(bias=BIASES[kind])):
        window = layer.attention.window
        y, x = query or (window // 2, window // 2)
        row = layer.attention.bias.term().materialize()[:, y * window + x]
        assert_close(bias_map(layer.attention, query), row.detach().reshape(-1, window, window), 1e-6)


@pytest.mark.parametrize('kind', BIASES)
def test_a_spectrum_has_the_singular_values_of_the_bias(kind):
    for layer in layers_of(network(bias=BIASES[kind])):
        expected = torch.linalg.svdvals(layer.attention.bias.term().materialize().detach().double())
        found = bias_spectrum(layer.attention)
        assert_close(found, expected[:, : found.shape[1]], 1e-5)
        assert expected[:, found.shape[1] :].abs().max() < 1e-4 * expected.max() if found.shape != expected.shape else 1


def test_layers_of_escrib():
    net = ESCRIB(**tiny_escrib()).eval()
    lr = picture(6, 7)
    layers = captured(net, lr)
    assert [(layer.block, layer.layer, layer.attention.window) for layer in layers] == [(0, 0, 4), (1, 0, 4)]
    for layer in layers:
        assert bias_map(layer.attention).shape == (2, 4, 4)
        assert layer.map.shape == (1, 6, 7, 12)
        assert attention_distance(layer).shape == (2,)


@pytest.mark.parametrize('kind', WITHOUT_TERM)
def test_a_bias_that_adds_nothing_has_no_map(kind):
    layer = layers_of(network(bias={'type': kind}))[0]
    for function in (bias_map, bias_spectrum):
        with pytest.raises(ValueError, match='logits'):
            function(layer.attention)


def test_a_query_outside_of_the_window_is_refused():
    layer = layers_of(network())[0]
    with pytest.raises(ValueError, match='query'):
        bias_map(layer.attention, (4, 0))


def test_uniform_attention_looks_as_far_as_the_mean_distance_in_a_window():
    net = network(bias={'type': 'none'})
    for layer in layers_of(net):
        torch.nn.init.zeros_(layer.attention.qkv.weight)
        torch.nn.init.zeros_(layer.attention.qkv.bias)
    for capture in captured(net, picture(11, 9)):
        window = capture.attention.window
        places = torch.cartesian_prod(torch.arange(window), torch.arange(window)).double()
        expected = torch.cdist(places, places).mean()
        assert_close(attention_distance(capture), expected.expand(2), 1e-6)


@pytest.mark.parametrize('kind', [*BIASES, *WITHOUT_TERM])
def test_distances_follow_from_the_attention_weights(kind):
    """The weights of one window that the map fills, by the textbook formula."""
    net = (
        network(bias=BIASES.get(kind, {'type': kind}), window_sizes=[6], num_heads=2)
        if kind in WITHOUT_TERM
        else (network(bias=BIASES[kind]))
    )
    capture = captured(net, picture(6, 6))[-1]
    assert capture.attention.window == 6
    attention = capture.attention
    q, k, _ = attention.qkv(capture.map).detach().reshape(36, 3, 2, 6).unbind(1)
    term, rotation = attention.bias.tables()
    if rotation is not None:
        q, k = rotation.apply(q), rotation.apply(k)
    logits = torch.einsum('qhd,khd->hqk', q, k) / 6**0.5
    weights = (logits if term is None else logits + term.materialize()).softmax(-1).detach()
    places = torch.cartesian_prod(torch.arange(6), torch.arange(6)).double()
    expected = (weights * torch.cdist(places, places)).sum((1, 2)) / 36
    assert_close(attention_distance(capture), expected, 1e-5)


@pytest.mark.parametrize('gate', ['CLA', 'pointwise', 'none'])
def test_gate_and_attention_make_what_the_layer_makes(gate):
    net = network(gate=gate, dim=2, num_heads=1, bias={'type': 'RIB', 'ranks': 2, 'hidden': 8, 'bands': 4})
    capture = captured(net, picture(7, 9))[0]
    out, gated = gate_maps(capture)
    assert out.shape == (7, 9)
    assert (out >= 0).all()
    if gate == 'none':
        assert gated is None
    else:
        assert_close(gated, capture.attention.gate(capture.map)[0].mean(-1).detach(), 1e-6)
        assert 0 < gated.min() < gated.max() < 1


def test_captured_maps_reproduce_the_network():
    net = network()
    lr = picture(7, 9)
    captures = captured(net, lr)
    assert [(each.block, each.layer) for each in captures] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    first = net.blocks[0].layers[0]
    with torch.no_grad():
        x = net.stem(lr.permute(0, 2, 3, 1).contiguous())
        assert_close(captures[0].map, first.attn_norm(first.attn.bias.features(x)), 1e-6)


def test_layers_without_maps_are_refused():
    layer = layers_of(network())[0]
    for function in (attention_distance, gate_maps):
        with pytest.raises(ValueError, match='captured'):
            function(layer)
