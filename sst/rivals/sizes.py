"""The published sizes of the networks in this room, by the names of the paper's tables."""

from typing import Any

from sst.rivals import (
    art_arch,
    asid_arch,
    cat_arch,
    elan_arch,
    esc_arch,
    hit_srf_arch,
    ipg_arch,
    mambair_arch,
    mambairv2_arch,
    pft_arch,
    rdn_arch,
)

_TYPES = {
    'PFT': pft_arch,
    'MambaIR': mambair_arch,
    'MambaIRv2': mambairv2_arch,
    'IPG': ipg_arch,
    'CAT': cat_arch,
    'ART': art_arch,
    'ESC': esc_arch,
    'ELAN': elan_arch,
    'HiT_SRF': hit_srf_arch,
    'ASIDd8': asid_arch,
    'RDN': rdn_arch,
}
# `network_g` without the scale, as in options/_base_/models
PUBLISHED: dict[str, dict[str, Any]] = {
    name: {'type': 'MambaIRv2Light' if name == 'MambaIRv2-light' else kind, **size}
    for kind, module in _TYPES.items()
    for name, size in module.SIZES.items()
}
SCALE_KEYS = {'ESC': 'upscaling_factor', 'ELAN': 'scale', 'RDN': 'scale', 'ASIDd8': 'upsampling'}  # others: upscale


def published(name: str, scale: int) -> dict[str, Any]:
    """`network_g` of a published network."""
    network = PUBLISHED[name]
    return {**network, SCALE_KEYS.get(network['type'], 'upscale'): scale}
