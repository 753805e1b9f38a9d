"""Window attention as pure functions: one door (`window_attention`), several backends, one reference."""

from sst.ops.attention import UnsupportedBackendError, available_backends, check_backend, window_attention
from sst.ops.terms import Factored, RelativeTable, Rotation, Term

__all__ = [
    'Factored',
    'RelativeTable',
    'Rotation',
    'Term',
    'UnsupportedBackendError',
    'available_backends',
    'check_backend',
    'window_attention',
]
