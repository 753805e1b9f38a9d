"""Attention in windows through one door (`window_attention`), and layers that have a kernel of their own."""

from sst.ops.attention import UnsupportedBackendError, available_backends, check_backend, window_attention
from sst.ops.pointwise import check_fused_layers, depthwise_gelu_add, norm_linear
from sst.ops.terms import Factored, RelativeTable, Rotation, Term

__all__ = [
    'Factored',
    'RelativeTable',
    'Rotation',
    'Term',
    'UnsupportedBackendError',
    'available_backends',
    'check_backend',
    'check_fused_layers',
    'depthwise_gelu_add',
    'norm_linear',
    'window_attention',
]
