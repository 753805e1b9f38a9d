"""Window attention as pure functions: one door (`window_attention`), several backends, one reference."""

from sst.ops.attention import available_backends, select_backend, window_attention
from sst.ops.terms import Factored, RelativeTable, Rotation, Term

__all__ = ['Factored', 'RelativeTable', 'Rotation', 'Term', 'available_backends', 'select_backend', 'window_attention']
