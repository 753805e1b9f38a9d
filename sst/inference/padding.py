"""Networks that accept only certain sizes."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from sst.ops.windows import pad_to_multiple
from sst.options.registries import NETWORKS


def padded(predict: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, multiple: int) -> Tensor:
    """Enlarge an image by a network that needs sides that are multiples of `multiple`, as BasicSR's SwinIRModel does.

    The image is extended on the right and bottom by reflection, periodically if it is small, as the maps of our
    networks are (`sst.ops.windows`). The result is cropped.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C, scale * h, scale * w).
        lr (Tensor): (B, C, h, w).

    Returns:
        Tensor: (B, C, scale * h, scale * w).
    """
    height, width = lr.shape[-2:]
    extended = pad_to_multiple(lr.permute(0, 2, 3, 1), multiple).permute(0, 3, 1, 2).contiguous()
    return predict(extended)[..., : scale * height, : scale * width]


def required_multiple(network_g: Mapping[str, Any]) -> int:
    """The number that the sides of a network's images must be multiples of: `window_size` of SwinIR and similar.

    1 for networks that pad their images themselves, and if `pad_to_window` is false.
    """
    if network_g.get('pad_to_window') is False or getattr(
        NETWORKS.get(network_g.get('type', '')), 'pads_itself', False
    ):
        return 1
    window = network_g.get('window_size', 1)
    return window if isinstance(window, int) and window > 1 else 1
