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
# A weight that networks of a type have, whatever their size. Others may have it too.
MARKS = {
    'PFT': 'layers.0.residual_group.layers.0.attn_win.proj.weight',
    'MambaIR': 'layers.0.residual_group.blocks.0.conv_blk.cab.0.weight',
    'MambaIRv2': 'layers.0.residual_group.layers.0.assm.CPE.0.weight',
    'MambaIRv2Light': 'layers.0.residual_group.layers.0.assm.CPE.0.weight',
    'IPG': 'layers.0.residual_group.blocks.0.grapher.logit_scale',
    'CAT': 'before_RG.1.weight',
    'ART': 'layers.0.residual_group.blocks.0.attn.pos.pos1.0.weight',
    'ESC': 'blocks.0.attn.relative_position_bias',
    'ELAN': 'body.0.modules_gmsa.gmsa_0.project_inp.0.weight',
    'HiT_SRF': 'layers.0.residual_group.blocks.0.correlation.pos.pos1.0.weight',
    'ASIDd8': 'block0.esa.conv1.weight',
    'RDN': 'gff.0.weight',
}
SCALE_KEYS = {'ESC': 'upscaling_factor', 'ELAN': 'scale', 'RDN': 'scale', 'ASIDd8': 'upsampling'}  # others: upscale


def published(name: str, scale: int) -> dict[str, Any]:
    """`network_g` of a published network."""
    network = PUBLISHED[name]
    return {**network, SCALE_KEYS.get(network['type'], 'upscale'): scale}
