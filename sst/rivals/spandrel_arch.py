"""Rivals that spandrel has, registered under their published names: HAT, ATD, DAT, RGT, DRCT, OmniSR and SRFormer.

spandrel is imported when one of them is built, because its import takes more than a second. It is an optional package:
`pip install 'sst-sr[spandrel]'`; SRFormer stands in spandrel_extra_arches, whose licence (CC BY-NC-SA 4.0 for some of
its networks) is not that of spandrel. SwinIR, EDSR and RCAN are BasicSR's.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from sst.utils.optional import require

PLACES = {
    'HAT': 'spandrel.architectures.HAT.__arch.HAT',
    'ATD': 'spandrel.architectures.ATD.__arch.atd_arch',
    'DAT': 'spandrel.architectures.DAT.__arch.DAT',
    'RGT': 'spandrel.architectures.RGT.__arch.rgt',
    'DRCT': 'spandrel.architectures.DRCT.__arch.drct_arch',
    'OmniSR': 'spandrel.architectures.OmniSR.__arch.OmniSR',
    'SRFormer': 'spandrel_extra_arches.architectures.SRFormer.__arch.SRFormer',
}
SIX = [6] * 6
CLASSICAL = {'img_size': 64, 'depths': SIX, 'num_heads': SIX, 'mlp_ratio': 2, 'upsampler': 'pixelshuffle'}
CLASSICAL |= {'img_range': 1.0, 'resi_connection': '1conv'}
LIGHT = CLASSICAL | {'depths': [6] * 4, 'num_heads': [6] * 4, 'upsampler': 'pixelshuffledirect'}
HAT = CLASSICAL | {'type': 'HAT', 'embed_dim': 180, 'window_size': 16, 'overlap_ratio': 0.5, 'conv_scale': 0.01}
HAT |= {'compress_ratio': 3, 'squeeze_factor': 30}
ATD = {'type': 'ATD', 'window_size': 16, 'convffn_kernel_size': 5}
DAT = {'type': 'DAT', 'embed_dim': 180, 'split_size': [8, 32], 'expansion_factor': 4, 'img_size': 64}
DAT |= {'depth': SIX, 'num_heads': SIX, 'img_range': 1.0, 'resi_connection': '1conv', 'upsampler': 'pixelshuffle'}
RGT = {'type': 'RGT', 'embed_dim': 180, 'depth': [6] * 8, 'num_heads': [6] * 8, 'mlp_ratio': 2, 'c_ratio': 0.5}
RGT |= {'split_size': [8, 32], 'img_size': 64, 'img_range': 1.0, 'resi_connection': '1conv'}
SWINIR = {'type': 'SwinIR', 'window_size': 8}

# `network_g` of each size, without the scale.
SIZES: dict[str, dict[str, Any]] = {
    'SwinIR': CLASSICAL | SWINIR | {'embed_dim': 180},
    'SwinIR-light': LIGHT | SWINIR | {'embed_dim': 60},
    'HAT': HAT,
    'HAT-S': HAT | {'embed_dim': 144, 'compress_ratio': 24, 'squeeze_factor': 24},
    'HAT-L': HAT | {'depths': [6] * 12, 'num_heads': [6] * 12},
    'ATD': CLASSICAL | ATD | {'embed_dim': 210, 'category_size': 256, 'num_tokens': 128, 'reducted_dim': 20},
    'ATD-light': LIGHT
    | ATD
    | {'embed_dim': 48, 'category_size': 128, 'num_tokens': 64, 'reducted_dim': 8, 'convffn_kernel_size': 7}
    | {'mlp_ratio': 1, 'num_heads': [4] * 4},
    'DAT': DAT,
    'RGT': RGT,
    'RGT-S': RGT | {'depth': SIX, 'num_heads': SIX},
    'DRCT': CLASSICAL
    | {'type': 'DRCT', 'embed_dim': 180, 'window_size': 16, 'overlap_ratio': 0.5, 'conv_scale': 0.01}
    | {'compress_ratio': 3, 'squeeze_factor': 30, 'gc': 32},
    'OmniSR': {'type': 'OmniSR', 'num_feat': 64, 'block_num': 1, 'res_num': 5, 'window_size': 8, 'pe': True}
    | {'bias': True},
    'SRFormer': CLASSICAL | {'type': 'SRFormer', 'img_size': 48, 'window_size': 24, 'embed_dim': 180},
    'SRFormer-light': LIGHT | {'type': 'SRFormer', 'window_size': 16, 'embed_dim': 60},
    'RCAN': {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_group': 10, 'num_block': 20}
    | {'squeeze_factor': 16, 'res_scale': 1, 'img_range': 255.0},
}


def _factory(name: str, place: str) -> Callable[..., nn.Module]:
    def build(**arguments: Any) -> nn.Module:
        package = place.partition('.')[0]
        require(package, '__version__', 'spandrel', f'network_g.type: {name}')
        return getattr(import_module(place), name)(**arguments)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""{name} by spandrel; its arguments are the published ones."""
    return build


for _name, _place in PLACES.items():
    ARCH_REGISTRY.register(_factory(_name, _place))
