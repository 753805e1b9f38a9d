"""Keys of other programs' option files that are refused, and what to write in their place.

The other programs are BasicSR, Real-ESRGAN and the released SST. `translation.py` has those that are understood.
"""

NO_GAN = 'this program does not train with a discriminator; delete it'
# Refused, wherever they stand, with what to write.
REFUSED = {
    'batch_size_per_gpu': 'give either it or batch_size, the total over all processes',
    'num_worker_per_gpu': 'give either it or num_workers',
    'use_grad_clip': 'use grad_clip, the largest norm of the gradient',
    'network_d': NO_GAN,
    'gan_opt': NO_GAN,
    'optim_d': NO_GAN,
    'net_d_iters': NO_GAN,
    'net_d_init_iters': NO_GAN,
    'pretrain_network_d': NO_GAN,
    'total_epochs': 'use total_iter',
    'epochs': 'use total_iter',
    'mean': 'networks get images in [0, 1]; delete it',
    'std': 'networks get images in [0, 1]; delete it',
    'color': 'networks get RGB images; delete it',
    'ignore_resume_networks': 'a run goes on with all that its state holds; delete it',
}

# Fields of the released networks, with our names for them.
RELEASED = {
    'n_blocks': 'num_blocks',
    'exp_ratio': 'ffn_expansion',
    'ranks': 'bias.ranks',
    'rank': 'bias.ranks',
    'flashbias_rank': 'bias.ranks',
    'attn_type': 'bias.type',
    'rib_hidden_dim': 'bias.hidden',
    'rib_n_freqs': 'bias.bands',
    'upscaling_factor': 'scale',
    'upsampler_type': 'upsampler.type',
    'gate_type': 'gate',
    'intermediate_dim': 'upsampler.channels',
}

# Keys of the sections `train` and `val` in SSTReal's released files.
RELEASED_TRAINING = {
    'consistency_opt': 'use consistency, with the keys that docs/options.md lists',
    'align_opt': 'it is no part of the published recipe; delete it',
}
RELEASED_VALIDATION = {
    'min_size': 'only 64 is understood, because SSTReal extends images to multiples of 64 alone; delete it',
}

# Fields of Real-ESRGAN's files; there the keys of the second round end in 2.
REAL_ESRGAN = (
    'blur_sigma',
    'sinc_prob',
    'resize_prob',
    'resize_range',
    'gaussian_noise_prob',
    'noise_range',
    'poisson_scale_range',
    'gray_noise_prob',
    'jpeg_range',
)


def advice(key: str, section: tuple[str | int, ...]) -> str:
    """What to write in place of an unknown key that other programs know, or ''."""
    if section[:1] == ('datasets',) and key == 'scale':
        return "unknown key; the run's scale counts: delete the line"
    if section[:1] == ('datasets',) and (ours := _of_real_esrgan(key)):
        return f"a key of Real-ESRGAN's files; use {ours} with type DegradedImageDataset"
    if key in REFUSED:
        return f"a key of BasicSR's files: {REFUSED[key]}"
    if section == ('train',) and key in RELEASED_TRAINING:
        return f"a key of SSTReal's released files: {RELEASED_TRAINING[key]}"
    if section == ('val',) and key in RELEASED_VALIDATION:
        return f"a key of SSTReal's released files: {RELEASED_VALIDATION[key]}"
    if section in ((), ('network_g',)) and key in RELEASED:
        return f'a key of the released files; use {RELEASED[key]}'
    return ''


def _of_real_esrgan(key: str) -> str:
    """Where we have a key of Real-ESRGAN's files, or ''."""
    if key == 'final_sinc_prob':
        return f'degradation.{key}'
    if key == 'second_blur_prob':
        return 'degradation.second.blur_prob'
    name = key.removesuffix('2')
    if name not in REAL_ESRGAN:
        return ''
    return f'degradation.{"first" if name == key else "second"}.{name}'
