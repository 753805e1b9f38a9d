"""Whether the kernels of `sst.ops.pointwise` compute the layers of a network, by a check on the machine."""

from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sst.ops.fused_check import SIZE, Clock, takes
from sst.utils.precision import full_float32

SMALL = (37, 45)  # height and width of the map that is compared


@torch.no_grad()
def fused_layers_are_better(
    layer: Any,
    dtype: torch.dtype,
    device: torch.device,
    size: tuple[int, int] = SIZE,
    seconds_of: Clock | None = None,
) -> bool:
    """Whether our kernels compute ConvFFN and the gate of a layer rightly, and not slower than torch does.

    Args:
        layer (Layer): one with `ffn`, `ffn_norm` and `attn`, its weights in `dtype`, in evaluation mode.
        size (tuple[int, int]): height and width of the map that is timed.
        seconds_of (Clock | None): see `sst.ops.fused_check.decide`.
    """
    dim, hidden = layer.ffn.project.out_features, layer.ffn.project.in_features
    name = f'layers {str(dtype).removeprefix("torch.")} dim {dim} hidden {hidden} {type(layer.attn.gate).__name__}'
    ours = [_with_flag(part, True) for part in (layer.ffn, layer.attn.gate)]
    theirs = [_with_flag(part, False) for part in (layer.ffn, layer.attn.gate)]
    norm = layer.ffn_norm

    def run(parts: list[Any], norm: Any, x: Tensor) -> list[Tensor]:
        results = parts[0](x, norm), parts[1](x)
        return [result for result in results if result is not None]

    def error() -> float:
        x = random(*SMALL)
        found = run(ours, norm, x)
        with full_float32():
            exact = run([deepcopy(part).float() for part in theirs], deepcopy(norm).float(), x.float())
        pairs = zip(found, exact, strict=True)
        return max(((a.double() - b.double()).norm() / b.double().norm()).item() for a, b in pairs)

    def random(height: int, width: int) -> Tensor:
        generator = torch.Generator(device).manual_seed(0)
        return torch.randn(1, height, width, dim, generator=generator, device=device).to(dtype)

    try:
        x = random(*size)
    except torch.OutOfMemoryError:
        return False
    return takes(name, device, dtype, error, partial(run, ours, norm, x), partial(run, theirs, norm, x), seconds_of)


def _with_flag(part: Any, fused: bool) -> Any:
    """A copy of a part that computes by our kernels or not. The weights are shared."""
    shared = {id(weight): weight for weight in part.parameters()}
    copy = deepcopy(part, shared)  # what is in the memo is not copied
    if hasattr(copy, 'fused'):
        copy.fused = fused
    return copy
