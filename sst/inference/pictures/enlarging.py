"""Pictures of the world through a network of three channels: grey, transparency, and no halos."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sst.inference.pictures.picture import Picture
from sst.utils.errors import UserError
from sst.utils.imresize import imresize

_INVISIBLE = 0.5 / 255  # alpha that 8 bits round to nothing


@torch.no_grad()
def enlarge(picture: Picture, predict: Callable[[Tensor], Tensor], scale: int) -> Picture:
    """Enlarge a picture; the result keeps what its file said.

    The network sees no colours that nobody could: those of transparent areas become the nearest visible ones, so that
    nothing bleeds into the picture. Grey goes through as three equal channels, whose mean is taken.

    Transparency is enlarged by bicubic interpolation. It is a mask, not a photograph: a network trained on photographs
    has nothing to find in it but texture that is not there, and would take as long again; what is wholly opaque or
    transparent stays so, and since colours reach beyond every edge, an edge of the mask cuts through colour alone.

    Args:
        picture: of any kind.
        predict (Callable): from (1, 3, H, W) float32 RGB in [0, 1] on the CPU to (1, 3, scale * H, scale * W), of any
            dtype and on any device.
        scale: of the network.

    Raises:
        UserError: the network's values are no numbers.
    """
    rgb, alpha = picture.rgb, picture.alpha
    if alpha is not None:
        rgb, alpha = filled(rgb, alpha), imresize(alpha, scale).clip(0, 1)
    lr = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].contiguous()
    sr = predict(lr)[0].float().cpu().permute(1, 2, 0)
    if not sr.isfinite().all():
        raise UserError('the network gives values that are no numbers; run it in float32, or with other weights')
    sr = sr.clamp(0, 1)
    if picture.grey:
        sr = sr.mean(dim=2, keepdim=True).expand(-1, -1, 3)
    return replace(picture, rgb=sr.contiguous().numpy(), alpha=alpha)


def filled(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours in which each invisible pixel has that of the nearest visible one."""
    invisible = alpha < _INVISIBLE
    if not invisible.any() or invisible.all():
        return rgb
    rows, columns = distance_transform_edt(invisible, return_distances=False, return_indices=True)
    return rgb[rows, columns]
