"""The layers around attention, computed by torch or, if asked for, by one kernel each.

Torch's own modules are the reference. Of the kernels (`sst.ops.kernels.pointwise`), only those of `depthwise_gelu_add`
have gradients. If others are recorded, or if a kernel cannot compute a layer, torch computes it. On CPUs, oneDNN
computes without gradients (`sst.ops.onednn`).
"""

import logging
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.ops import onednn
from sst.ops.attention import UnsupportedBackendError
from sst.ops.backends import fused as triton_here
from sst.ops.kernels.pointwise_op import fused_depthwise_gelu_add, fused_norm_linear
from sst.utils.autocast import has_autocast

logger = logging.getLogger('basicsr')

Activation = Literal['none', 'gelu', 'sigmoid']
ACTIVATIONS = {'none': lambda x: x, 'gelu': F.gelu, 'sigmoid': torch.sigmoid}
MOST_CHANNELS = 256  # because a pixel's channels are normalised in registers


def norm_linear(
    x: Tensor,
    norm: nn.LayerNorm | None,
    linear: nn.Linear,
    activation: Activation = 'none',
    *,
    skip: Tensor | None = None,
    fused: bool = False,
) -> Tensor:
    """activation(linear(norm(x))) or linear(norm(x)) + skip.

    Args:
        x (Tensor): a map (B, H, W, C).
        norm (nn.LayerNorm | None): over C; None: x is not normalised.
        linear (nn.Linear): C to K, with a bias.
        activation (str): 'none', 'gelu' (by the error function) or 'sigmoid'. With a skip there must be none.
        skip (Tensor | None): a map (B, H, W, K).
        fused (bool): use one kernel if possible; its sums and functions are always in float32.

    Returns:
        Tensor: (B, H, W, K).
    """
    recorded = torch.is_grad_enabled() and (x.requires_grad or linear.weight.requires_grad)  # the kernel has none
    if fused and skip is None and not recorded and _kernel_computes(x, linear.weight):
        weight, bias, eps = (norm.weight, norm.bias, norm.eps) if norm is not None else (None, None, 0.0)
        return fused_norm_linear(x, weight, bias, eps, linear.weight, linear.bias, activation)
    x = x if norm is None else norm(x)
    if onednn.computes(x, linear.weight, linear.bias, skip):
        return onednn.linear(x, linear.weight, linear.bias, activation, skip)
    out = ACTIVATIONS[activation](linear(x))
    return out if skip is None else skip + out


def depthwise_gelu_add(h: Tensor, depthwise: nn.Conv2d, *, fused: bool = False) -> Tensor:
    """h + GELU(depthwise(h)).

    Args:
        h (Tensor): a map (B, H, W, F).
        depthwise (nn.Conv2d): 3x3 for each channel, zero padding, with a bias, from such maps to such maps.
        fused (bool): use one kernel if possible, and two for the gradients. Under autocast they read the weights as
            they are, if the map has the dtype of autocast.

    Returns:
        Tensor: (B, H, W, F).
    """
    if fused and _kernel_computes(h, depthwise.weight, autocast_weights=True):
        return fused_depthwise_gelu_add(h, depthwise.weight, depthwise.bias)
    if onednn.computes(h, depthwise.weight, depthwise.bias):
        return onednn.convolution_gelu(h, depthwise.weight, depthwise.bias, [1, 1], h.shape[-1]).add_(h)
    return h + F.gelu(depthwise(h))


def check_fused_layers(device: torch.device, dtype: torch.dtype, dim: int) -> None:
    """Raise UnsupportedBackendError if the kernels cannot compute maps of `dim` channels on `device`."""
    if reasons := _reasons(device, dtype, dim):
        raise UnsupportedBackendError(
            f'the fused layers cannot be computed here: {"; ".join(reasons)}; leave out `fused` to use torch'
        )


def check_fused_training(device: torch.device, dtype: torch.dtype) -> None:
    """Raise UnsupportedBackendError if the kernels with gradients cannot compute maps on `device`."""
    if reasons := _reasons(device, dtype, 1):
        raise UnsupportedBackendError(
            f'train.fused_layers: the kernels cannot compute here: {"; ".join(reasons)}; set it to false to use torch'
        )


def _kernel_computes(x: Tensor, weight: Tensor, *, autocast_weights: bool = False) -> bool:
    channels = weight.shape[1] if weight.dim() == 2 else 1
    reasons = _reasons(x.device, x.dtype, channels)
    kind = x.device.type
    autocast = has_autocast(kind) and torch.is_autocast_enabled(kind)
    converted = autocast and autocast_weights and x.dtype == torch.get_autocast_dtype(kind)
    if (x.dtype != weight.dtype and not converted) or x.device != weight.device:
        reasons.append(f'the map is {x.dtype} on {x.device}, the weights are {weight.dtype} on {weight.device}')
    if autocast and not converted:
        reasons.append('autocast chooses the dtypes')
    if reasons and not torch.compiler.is_compiling():
        _log_once('; '.join(reasons))
    return not reasons


def _reasons(device: torch.device, dtype: torch.dtype, channels: int) -> list[str]:
    reasons = triton_here.device_reasons(device)
    if dtype not in triton_here.DTYPES:
        reasons.append(f'the dtype must be float16, bfloat16 or float32, not {dtype}')
    if triton_here.INTERPRETED and dtype == torch.bfloat16:
        reasons.append("Triton's interpreter multiplies bfloat16 wrongly")
    if channels > MOST_CHANNELS:
        reasons.append(f'the maps must have at most {MOST_CHANNELS} channels, not {channels}')
    return reasons


@cache
def _log_once(reasons: str) -> None:
    logger.info(f'Fused layers: torch computes them ({reasons}).')
