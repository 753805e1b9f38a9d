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


def escrib_names(options):
    """As `released_names`, of ESC-RIB."""
    dim, pdim, size = options['dim'], options['pdim'], options['kernel_size']
    hidden = int(dim * options['exp_ratio'])
    shapes = {'plk_filter': (pdim, pdim, size, size)} | conv('proj', dim, 3)
    for b in range(options['n_blocks']):
        block = f'blocks.{b}'
        layer = layer_names('layer', options | {'rib_hidden_dim': 4}, options['window_size'])
        attention = {name.removeprefix('layer.'): shape for name, shape in layer.items()}
        shapes |= {f'{block}.{name}': shape for name, shape in attention.items() if name.startswith('attn.')}
        for norm in ('ln_proj', 'ln_attn', 'ln_out', *options['lns']):
            shapes |= {f'{block}.{norm}.{kind}': (dim,) for kind in ('weight', 'bias')}
        for ffn, width in [('proj', 4 * dim), *((f'convffns.{j}', hidden) for j in range(options['conv_blocks']))]:
            shapes |= conv(f'{block}.{ffn}.proj', width, dim, 1) | conv(f'{block}.{ffn}.dwc', width, 1)
            shapes |= conv(f'{block}.{ffn}.aggr', dim, width, 1)
        for j in range(options['conv_blocks']):
            step = f'{block}.pconvs.{j}'
            shapes |= conv(f'{step}.plk.dwc_proj.1', pdim // 2, pdim, 1)
            shapes |= conv(f'{step}.plk.dwc_proj.3', 9 * pdim, pdim // 2, 1) | conv(f'{step}.aggr', dim, dim, 1)
        shapes |= conv(f'{block}.conv_out', dim, dim)
    shapes |= {f'last.0.{kind}': (dim,) for kind in ('weight', 'bias')} | conv('last.1', dim, dim)
    upsampler = upsampler_names(options['upsampler_type'], dim, 6, options['upscaling_factor'])
    return shapes | {f'upsampler.{name}': shape for name, shape in upsampler.items()}


def upsampler_names(kind, dim, m, s):
    if kind == 'pixelshuffle_direct':
        return conv('up_conv', 3 * s * s, dim)
    if kind == 'pixelshuffle':
        return conv('feature_conv', m, dim) | conv('up_conv', m * s * s, m) | conv('final_conv', 3, m)
    names = conv('f_img.0', dim, 3, 1) | conv('f_img.1', dim, dim, 7) | conv('f_img.3', dim, dim, 1)
    names |= conv('f.0', m, dim) | conv('f.3', m, m)
    return names | (conv('f.6', m, m) | conv('f.8', 3, m) if s == 4 else conv('f.5', 3, m))
