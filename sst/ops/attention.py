"""Window attention by the backend that is asked for, or by the fastest that can compute it."""

import logging
from functools import cache

import torch
from torch import Tensor

from sst.ops.backends import BACKENDS
from sst.ops.backends.base import Backend, Inputs
from sst.ops.backends.flash import UNUSABLE
from sst.ops.terms import Factored, Rotation, Term
from sst.utils.autocast import autocast_off
from sst.utils.errors import UserError

logger = logging.getLogger('basicsr')


def available_backends() -> tuple[str, ...]:
    """The names that `backend` accepts besides 'auto', fastest first."""
    return tuple(BACKENDS)


def window_attention(
    qkv: Tensor,
    window: int,
    num_heads: int,
    term: Term | None = None,
    *,
    rotation: Rotation | None = None,
    gate: Tensor | None = None,
    shift: int = 0,
    padding: int = 0,
    backend: str = 'auto',
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Multi-head attention inside square windows of a map, with a positional term and a gate (Eq. 4-6 and 11).

    out = softmax(q k^T / sqrt(d) + term) v * gate, in windows of `window` x `window` tokens. A map whose sides are not
    multiples of `window` is extended on the right and bottom by (periodic) reflection. The added tokens take part in
    the attention and are cropped from the result.

    Args:
        qkv (Tensor): (B, H, W, 3C), channels ordered (q|k|v), then head, then channel of the head; any H, W >= 1.
        window (int): side of a window, in pixels.
        num_heads (int): number of heads; must divide C. d = C / num_heads.
        term (Term | None): added to the logits.
        rotation (Rotation | None): applied to q and k.
        gate (Tensor | None): (B, H, W, C), multiplied with the result.
        shift (int): the padded map is rolled by (-shift, -shift) before and back after; there is no mask.
        padding (int): channels of zeros that qkv, (B, H, W, 3 * heads * (d + padding)), has after the d of each head.
            They change no value: d counts without them, and so does C of all other maps. Their gradient is 0.
        backend (str): 'auto' or a name from `available_backends()`.
        dtype (torch.dtype | None): the dtype that attention computes in. None: that of the input, except bfloat16 for
            float32 on CUDA, as published. `reference` always computes in float32.

    Returns:
        Tensor: (B, H, W, C) in the dtype of `qkv`.

    Raises:
        ValueError: the channels, their padding, the window or the factors do not fit.
        UnsupportedBackendError: the backend is unknown or cannot compute this; the message says why, and which can.
    """
    if qkv.dim() != 4 or qkv.shape[-1] % (3 * num_heads):
        raise ValueError(
            f'qkv must be (B, H, W, 3C) with C a multiple of num_heads {num_heads}, not {tuple(qkv.shape)}'
        )
    channels = qkv.shape[-1] // (3 * num_heads)
    if not 0 <= padding < max(channels, 1):
        raise ValueError(
            f'padding must be 0 to {channels - 1}, less than the {channels} channels of a head, not {padding}'
        )
    if window < 1:
        raise ValueError(f'window must be at least 1, not {window}')
    if isinstance(term, Factored):
        shapes = tuple(term.q.shape), tuple(term.k.shape)
        if shapes[0] != shapes[1] or shapes[0][:2] != (num_heads, window**2):
            raise ValueError(
                f'both factors of the term must be ({num_heads}, {window**2}, rank), not {shapes[0]} and {shapes[1]}'
            )
    inputs = Inputs(qkv, window, num_heads, term, rotation, gate, shift, dtype or default_dtype(qkv), padding)
    with autocast_off(qkv.device):  # because `dtype` says in which precision to compute
        chosen = select_backend(backend, inputs)
        if not torch.compiler.is_compiling():
            _log_once(chosen.name, qkv.device.type, inputs.dtype)
        return chosen(inputs.without_padding() if padding and not chosen.reads_padding(inputs) else inputs)


def check_backend(
    name: str,
    device: torch.device,
    map_dtype: torch.dtype,
    *,
    dim: int,
    window: int,
    num_heads: int,
    term: Term | None = None,
    rotation: Rotation | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Raise UnsupportedBackendError if a backend cannot compute on maps of `map_dtype` on `device`."""
    qkv = torch.empty(1, 1, 1, 3 * dim, device=device, dtype=map_dtype)
    select_backend(name, Inputs(qkv, window, num_heads, term, rotation, None, 0, dtype or default_dtype(qkv)))


def default_dtype(qkv: Tensor) -> torch.dtype:
    """The dtype that attention computes in by default: that of its input, except bfloat16 for float32 on CUDA."""
    return torch.bfloat16 if qkv.is_cuda and qkv.dtype == torch.float32 else qkv.dtype


class UnsupportedBackendError(UserError, ValueError):
    """The attention backend that was asked for does not exist, or cannot compute; the message gives the reasons."""


def select_backend(name: str, inputs: Inputs) -> Backend:
    """The backend called `name`, or for 'auto' the fastest that can compute. Raises UnsupportedBackendError."""
    if name == 'auto':
        return next(b for b in BACKENDS.values() if b.automatic(inputs) and not b.unsupported(inputs))
    if name not in BACKENDS:
        raise UnsupportedBackendError(f'unknown attention backend {name!r}; use one of auto, {", ".join(BACKENDS)}')
    if reasons := BACKENDS[name].unsupported(inputs):
        able = [other.name for other in BACKENDS.values() if not other.unsupported(inputs)]
        raise UnsupportedBackendError(
            f'attention backend {name!r} cannot be used: {"; ".join(reasons)}; use one of auto, {", ".join(able)}'
        )
    return BACKENDS[name]


@cache
def _log_once(name: str, device: str, dtype: torch.dtype) -> None:
    if UNUSABLE and not _log_once.cache_info().currsize:
        logger.info(f'Window attention: FlashAttention is not used: {UNUSABLE}.')
    logger.info(f'Window attention: backend {name} on {device} in {str(dtype).removeprefix("torch.")}.')
