"""Released files for tests: the golden cases, and the names and shapes a file has for any options."""

import json
from pathlib import Path

import numpy as np
import torch

from sst.options.released import network_options

FIXTURES = Path(__file__).parent / 'fixtures'


def golden(name):
    """Released weights, their options, an input and the output the released network gave."""
    content = np.load(FIXTURES / f'{name}.npz')
    weights = {
        key.removeprefix('params/'): torch.from_numpy(content[key]) for key in content if key.startswith('params/')
    }
    options = network_options(json.loads(str(content['network_g'])))
    return weights, options, torch.from_numpy(content['input']), torch.from_numpy(content['output'])


def released_names(options):
    """Names and shapes a released file has for these options, written from the table of the release."""
    dim, heads, windows, layers = options['dim'], 2, options['window_sizes'], len(options['window_sizes'])
    hidden, ffn, rank = options['rib_hidden_dim'], int(dim * 2), 3
    conv = {'weight': (dim, dim, 3, 3), 'bias': (dim,)}
    shapes = {'proj.weight': (dim, 3, 3, 3), 'proj.bias': (dim,)}

    def add(prefix, parts):
        shapes.update({f'{prefix}.{name}': shape for name, shape in parts.items()})

    for b in range(options['n_blocks']):
        for i in range(layers):
            layer = f'body.{b}.{i}'
            for norm in ('norm_attn', 'norm_ffn'):
                add(f'{layer}.{norm}', {'weight': (dim,), 'bias': (dim,)})
            inputs = 2 if options['attn_type'] == 'RIBSiren' else 42
            tokens, half = windows[i] ** 2, -(-(dim // heads) // 4) * 2
            add(
                layer,
                {
                    'RIB': (
                        rib := {
                            'attn.to_hidden': (inputs, hidden),
                            'attn.hidden_b': (1, hidden),
                            'attn.to_q': (heads, hidden, rank),
                            'attn.to_k': (heads, hidden, rank),
                        }
                    ),
                    'RIBSiren': rib,
                    'FlashBias': {f'attn.flashbias_{x}': (heads, tokens, rank) for x in 'qk'},
                    'RoPEViT': {'attn.rope_freqs': (2, heads, half)},
                    'CPE': {'cpe.weight': (dim, 1, 3, 3), 'cpe.bias': (dim,)},
                    'NoPE': {},
                }.get(options['attn_type'], {'attn.relative_position_bias': (heads, (2 * windows[i] - 1) ** 2)}),
            )
            add(f'{layer}.attn.to_qkv', {'weight': (3 * dim, dim, 1, 1), 'bias': (3 * dim,)})
            add(f'{layer}.attn.to_out', {'weight': (dim, dim, 1, 1), 'bias': (dim,)})
            if options['gate_type'] == 'DWC':
                add(f'{layer}.attn.gate.0', {'weight': (dim, 1, 3, 3), 'bias': (dim,)})
                add(f'{layer}.attn.gate.1', {'weight': (dim, dim, 1, 1), 'bias': (dim,)})
            elif options['gate_type'] == 'Linear':
                add(f'{layer}.attn.gate.0', {'weight': (dim, dim, 1, 1), 'bias': (dim,)})
            add(f'{layer}.ffn.proj', {'weight': (ffn, dim, 1, 1), 'bias': (ffn,)})
            add(f'{layer}.ffn.dwc', {'weight': (ffn, 1, 3, 3), 'bias': (ffn,)})
            add(f'{layer}.ffn.agg', {'weight': (dim, ffn, 1, 1), 'bias': (dim,)})
        add(f'body.{b}.{layers}', conv)
    add(f'body.{options["n_blocks"]}', {'weight': (dim,), 'bias': (dim,)})
    add(f'body.{options["n_blocks"] + 1}', conv)
    m, s = options['intermediate_dim'], options['upscaling_factor']
    add('upsampler', upsampler_names(options['upsampler_type'], dim, m, s))
    return shapes


def upsampler_names(kind, dim, m, s):
    def conv(name, out, into, size=3):
        return {f'{name}.weight': (out, into, size, size), f'{name}.bias': (out,)}

    if kind == 'pixelshuffle_direct':
        return conv('up_conv', 3 * s * s, dim)
    if kind == 'pixelshuffle':
        return conv('feature_conv', m, dim) | conv('up_conv', m * s * s, m) | conv('final_conv', 3, m)
    steps = {'f.3': m, 'f.6': m} if s == 4 else {'f.3': m}
    names = (
        conv('f_img.0', dim, 3, 1) | conv('f_img.1', dim, dim, 7) | conv('f_img.3', dim, dim, 1) | conv('f.0', m, dim)
    )
    for step in steps:
        names |= conv(step, m, m)
    return names | conv('f.8' if s == 4 else 'f.5', 3, m)
