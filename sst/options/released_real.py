"""`network_g` of the released SSTReal's option files, whose `type` is EDMUNet, in our words."""

from collections.abc import Mapping

from sst.options.registries import BIASES, GATES
from sst.options.released import OTHER_NETWORKS, part_of_release, whole_number

TYPE = 'EDMUNet'
NAMES = {  # of those fields that are the same in our words
    'dim': 'dim',
    'num_blocks': 'num_blocks',
    'window_sizes': 'window_sizes',
    'num_heads': 'num_heads',
    'exp_ratio': 'ffn_expansion',
    'intermediate_dim': 'upsampler_channels',
    'noise_channels': 'noise_channels',
    'emb_channels': 'embedding_channels',
    'ig_idx': 'middle_block',
    'drop_p': 'dropout',
    'sigma_data': 'sigma_data',
    'use_skip': 'skip',
    'sampling_ig_lambda': 'guidance',
}
REQUIRED = (
    'dim',
    'intermediate_dim',
    'emb_channels',
    'noise_channels',
    'num_blocks',
    'fuse_lr_till',
    'ig_idx',
    'window_sizes',
    'num_heads',
    'attn_type',
)
DEFAULTS = {
    'ranks': None,
    'exp_ratio': 2,
    'rib_hidden_dim': 32,
    'rib_n_freqs': 10,
    'gate_type': None,
    'drop_p': 0,
    'sigma_data': 0.5,
    'use_skip': True,
    'sampling_ig_lambda': 1,
}
WITHOUT_EFFECT = (
    'img_resolution',
    'img_channels',
    'sigma_min',
    'sigma_max',
    'up_list',
    'down_list',
    'use_enc',
    'scale',
)


def real_options(released: Mapping) -> dict:
    """As `sst.options.released.network_options`, for SSTReal."""
    given = {key: value for key, value in released.items() if key != 'type' and value is not None}
    fields = DEFAULTS | {key: value for key, value in given.items() if key not in WITHOUT_EFFECT}
    if unknown := fields.keys() - DEFAULTS.keys() - set(REQUIRED):
        known = [*REQUIRED, *DEFAULTS, *WITHOUT_EFFECT]
        raise ValueError(f'unknown released option field {sorted(unknown)} of {TYPE}; known are {known}')
    if missing := [key for key in REQUIRED if key not in fields]:
        raise ValueError(f'the released options of {TYPE} lack {missing}')
    last = whole_number(fields, 'fuse_lr_till', least=-1)  # block that takes the LR image; -1: none does
    return {
        'type': 'SSTReal',
        'scale': 4,
        **{ours: fields[theirs] for theirs, ours in NAMES.items()},
        'lr_blocks': min(last + 1, whole_number(fields, 'num_blocks', least=1)),
        'bias': part_of_release(BIASES, 'attn_type', fields),
        'gate': part_of_release(GATES, 'gate_type', fields)['type'],
    }


OTHER_NETWORKS[TYPE] = real_options
