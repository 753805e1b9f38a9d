"""Attention in windows (`window_attention`), and the layers that have kernels of their own."""

from sst.ops.attention import UnsupportedBackendError, available_backends, check_backend, window_attention
from sst.ops.pointwise import check_fused_layers, check_fused_training, depthwise_gelu_add, norm_linear
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
    'check_fused_training',
    'depthwise_gelu_add',
    'norm_linear',
    'window_attention',
]
