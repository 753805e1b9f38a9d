"""Released files for tests: the golden cases, and the names and shapes a file has for any options."""

import json
from pathlib import Path

import numpy as np
import torch

from sst.options.released import network_options

FIXTURES = Path(__file__).parent / 'fixtures'
RANK = 3


def golden(name):
    """Released weights, their options, an input and the output the released network gave."""
    content = np.load(FIXTURES / f'{name}.npz')
    weights = {
        key.removeprefix('params/'): torch.from_numpy(content[key]) for key in content if key.startswith('params/')
    }
    options = network_options(json.loads(str(content['network_g'])))
    return weights, options, torch.from_numpy(content['input']), torch.from_numpy(content['output'])


def conv(name, out, into, size=3):
    """Names and shapes of a convolution with bias."""
    return {f'{name}.weight': (out, into, size, size), f'{name}.bias': (out,)}


def released_names(options):
    """Names and shapes a released file has for these options, written from the table of the release."""
    dim, layers, s = options['dim'], len(options['window_sizes']), options['upscaling_factor']
    shapes = conv('proj', dim, 3)
    for block in range(options['n_blocks']):
        for index, window in enumerate(options['window_sizes']):
            shapes |= layer_names(f'body.{block}.{index}', options, window)
        shapes |= conv(f'body.{block}.{layers}', dim, dim)
    last = options['n_blocks']
    shapes |= {f'body.{last}.weight': (dim,), f'body.{last}.bias': (dim,)} | conv(f'body.{last + 1}', dim, dim)
    upsampler = upsampler_names(options['upsampler_type'], dim, options['intermediate_dim'], s)
    return shapes | {f'upsampler.{name}': shape for name, shape in upsampler.items()}


def layer_names(layer, options, window):
    dim, heads, hidden, ffn = options['dim'], 2, options['rib_hidden_dim'], 2 * options['dim']
    shapes = {f'{layer}.norm_{part}.{kind}': (dim,) for part in ('attn', 'ffn') for kind in ('weight', 'bias')}
    shapes |= conv(f'{layer}.attn.to_qkv', 3 * dim, dim, 1) | conv(f'{layer}.attn.to_out', dim, dim, 1)
    shapes |= conv(f'{layer}.ffn.proj', ffn, dim, 1) | conv(f'{layer}.ffn.dwc', ffn, 1)
    shapes |= conv(f'{layer}.ffn.agg', dim, ffn, 1)
    if options['gate_type'] == 'DWC':
        shapes |= conv(f'{layer}.attn.gate.0', dim, 1) | conv(f'{layer}.attn.gate.1', dim, dim, 1)
    elif options['gate_type'] == 'Linear':
        shapes |= conv(f'{layer}.attn.gate.0', dim, dim, 1)
    inputs = 2 if options['attn_type'] == 'RIBSiren' else 42
    implicit = {
        f'{layer}.attn.to_hidden': (inputs, hidden),
        f'{layer}.attn.hidden_b': (1, hidden),
        f'{layer}.attn.to_q': (heads, hidden, RANK),
        f'{layer}.attn.to_k': (heads, hidden, RANK),
    }
    biases = {
        'RIB': implicit,
        'RIBSiren': implicit,
        'FlashBias': {f'{layer}.attn.flashbias_{x}': (heads, window**2, RANK) for x in 'qk'},
        'RoPEViT': {f'{layer}.attn.rope_freqs': (2, heads, -(-(dim // heads) // 4) * 2)},
        'CPE': conv(f'{layer}.cpe', dim, 1),
        'NoPE': {},
    }
    table = {f'{layer}.attn.relative_position_bias': (heads, (2 * window - 1) ** 2)}
    return shapes | biases.get(options['attn_type'], table)


def upsampler_names(kind, dim, m, s):
    if kind == 'pixelshuffle_direct':
        return conv('up_conv', 3 * s * s, dim)
    if kind == 'pixelshuffle':
        return conv('feature_conv', m, dim) | conv('up_conv', m * s * s, m) | conv('final_conv', 3, m)
    names = conv('f_img.0', dim, 3, 1) | conv('f_img.1', dim, dim, 7) | conv('f_img.3', dim, dim, 1)
    names |= conv('f.0', m, dim) | conv('f.3', m, m)
    return names | (conv('f.6', m, m) | conv('f.8', 3, m) if s == 4 else conv('f.5', 3, m))
