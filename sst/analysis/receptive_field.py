"""The effective receptive field: how far around a pixel of SR the LR pixels lie that change it (Luo et al., 2016)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReceptiveField:
    """Mean |d SR centre / d LR| around the centre."""

    strength: Tensor  # (h, w), with sum 1

    def side(self, share: float) -> int:
        """The side, in LR pixels, of the smallest centred square that holds this share of the strength.

        The square has an odd side and its middle is the pixel below the centre of SR. It is cut at the image's border.

        Raises:
            ValueError: the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f'share must be in (0, 1], not {share}')
        height, width = self.strength.shape
        row, column = height // 2, width // 2
        rows = (torch.arange(height) - row).abs()
        columns = (torch.arange(width) - column).abs()
        rings = torch.maximum(rows[:, None], columns[None, :])  # of a pixel: how far its square reaches
        sums = torch.zeros(int(rings.max()) + 1, dtype=torch.float64)
        sums.index_add_(0, rings.flatten(), self.strength.double().flatten().cpu())
        reached = sums.cumsum(0) >= share * sums.sum() * (1 - 1e-9)
        return 2 * int(reached.int().argmax()) + 1


def effective_receptive_field(predict: Callable[[Tensor], Tensor], images: Iterable[Tensor]) -> ReceptiveField:
    """The mean over images of |d y / d LR|, summed over channels; y is the sum of the centre's SR channels.

    The centre is the SR pixel block below LR pixel (h // 2, w // 2): its s x s pixels are summed, so that the field
    has a middle at every scale.

    Args:
        predict (Callable): from (1, 3, h, w) to (1, 3, s h, s w), with gradients for its input.
        images (Iterable[Tensor]): (1, 3, h, w) each, of one size.

    Raises:
        ValueError: there is no image, sizes differ, or nothing of an image reaches the centre.
    """
    total: Tensor | None = None
    for image in images:
        if total is not None and total.shape != image.shape[-2:]:
            raise ValueError(f'images must have one size, not {tuple(total.shape)} and {tuple(image.shape[-2:])}')
        lr = image.detach().clone().requires_grad_()
        with torch.enable_grad():
            sr = predict(lr)
            scale = sr.shape[-1] // lr.shape[-1]
            top, left = (scale * (size // 2) for size in lr.shape[-2:])
            value = sr[..., top : top + scale, left : left + scale].sum()
        (gradient,) = torch.autograd.grad(value, lr)
        strength = gradient[0].abs().sum(dim=0)
        total = strength if total is None else total + strength
    if total is None:
        raise ValueError('effective_receptive_field needs at least one image')
    if not total.sum() > 0:
        raise ValueError('no pixel of the images changes the centre of SR')
    return ReceptiveField(total / total.sum())
