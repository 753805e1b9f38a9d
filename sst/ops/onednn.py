"""Layers on CPUs by oneDNN, which adds a bias, an activation and a skip where it writes the result.

torch's own modules would pass over the map once for each of them. The operators are those that torch's compiler uses.
They have no gradients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sst.utils.autocast import has_autocast

NAMES = {'none': ('none', 'none'), 'gelu': ('gelu', 'none'), 'sigmoid': ('sigmoid', '')}  # and the kind of GELU


def computes(x: Tensor, weight: Tensor, *others: Tensor | None) -> bool:
    """Whether oneDNN can compute a layer here: on a CPU, without gradients, in float32 or bfloat16.

    `others` are the bias and the skip.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    if x.device.type != 'cpu' or type(x) is not Tensor or not _supports(x.dtype):
        return False
    given = [tensor for tensor in (x, weight, *others) if tensor is not None]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return False
    if any(tensor.dtype != x.dtype for tensor in given):
        return False
    return not (has_autocast('cpu') and torch.is_autocast_enabled('cpu'))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, skip: Tensor | None) -> Tensor:
    """activation(x weight^T + bias) + skip. With a skip there must be no activation.

    Args:
        x (Tensor): a map (B, H, W, C).
        weight (Tensor), bias (Tensor | None): (K, C) and (K,).
        activation (str): 'none', 'gelu' (by the error function) or 'sigmoid'.
        skip (Tensor | None): (B, H, W, K).

    Returns:
        Tensor: (B, H, W, K).
    """
    if skip is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(x, skip, weight, bias, 'add')
    name, kind = NAMES[activation]
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], kind)


def convolution_gelu(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int], groups: int) -> Tensor:
    """GELU(conv(x)) with stride 1, from a map (B, H, W, C) to a map."""
    once = [1, 1]
    maps = x.permute(0, 3, 1, 2), weight, bias, list(padding), once, once, groups
    return torch.ops.mkldnn._convolution_pointwise(*maps, *('gelu', [], 'none')).permute(0, 2, 3, 1)


def _supports(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, '_linear_pointwise'):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
