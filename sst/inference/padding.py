"""Networks that accept only certain sizes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sst.options.registries import NETWORKS


def padded(predict: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, multiple: int) -> Tensor:
    """Enlarge an image by a network that needs sides that are multiples of `multiple`, as BasicSR's SwinIRModel does.

    The image is extended on the right and bottom by reflection, or by repeating its last pixels if it is too small for
    that. The result is cropped.

    Args:
        predict (Callable): from (B, C, h, w) to (B, C, scale * h, scale * w).
        lr (Tensor): (B, C, h, w).

    Returns:
        Tensor: (B, C, scale * h, scale * w).
    """
    height, width = lr.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom or right:
        mode = 'reflect' if bottom < height and right < width else 'replicate'
        lr = F.pad(lr, (0, right, 0, bottom), mode)
    return predict(lr)[..., : scale * height, : scale * width]


def required_multiple(network_g: Mapping[str, Any]) -> int:
    """The number that the sides of a network's images must be multiples of: `window_size` of SwinIR and similar.

    1 for networks that pad their images themselves.
    """
    if getattr(NETWORKS.get(network_g.get('type', '')), 'pads_itself', False):
        return 1
    window = network_g.get('window_size', 1)
    return window if isinstance(window, int) and window > 1 else 1
