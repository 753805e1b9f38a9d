"""Networks that take certain sizes only."""

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def padded(predict: Callable[[Tensor], Tensor], lr: Tensor, *, scale: int, multiple: int) -> Tensor:
    """Enlarge a picture by a network that takes sides that are multiples of `multiple`, as BasicSR's SwinIRModel does.

    The picture is extended by reflection at the right and bottom, its last pixels repeated where it is too small for
    that, and the result cropped.

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
    """Of what number the sides of a network's pictures must be multiples: `window_size` of SwinIR and its kin."""
    window = network_g.get('window_size', 1)
    return window if isinstance(window, int) and window > 1 else 1
