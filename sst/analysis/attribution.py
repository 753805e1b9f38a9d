"""Local attribution maps (LAM): which pixels of LR a region of SR is made from (Gu and Dong, CVPR 2021)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from sst.analysis.regions import Region

Detector = Callable[[Tensor, Region], Tensor]


@dataclass(frozen=True)
class Attribution:
    """The outcome of `local_attribution`."""

    signed: Tensor  # (3, h, w): the share of each LR value in `difference`
    difference: float  # the detector on SR of the image, less that on SR of the blurred image

    @property
    def strength(self) -> Tensor:
        """(h, w): sums of absolute values over the channels."""
        return self.signed.abs().sum(dim=0)

    @property
    def index(self) -> float:
        """The diffusion index: 100 where all pixels take part alike, near 0 where few do."""
        return diffusion_index(self.strength)


def local_attribution(
    predict: Callable[[Tensor], Tensor],
    lr: Tensor,
    region: Region,
    *,
    detector: Detector | None = None,
    sigma: float = 1.2,
    steps: int = 50,
    progress: str | None = None,
) -> Attribution:
    """Integrated gradients of a detector of SR, along a path of LR images from blurred to sharp.

    With gamma(t) the image blurred by a Gaussian of standard deviation sigma (1 - t), the attribution of LR value i is
    the integral over t in [0, 1] of dD(F(gamma)) / dgamma_i * dgamma_i / dt. It is summed by the trapezoidal rule over
    differences of gamma. So it is exact for a linear network with a linear detector.

    Args:
        predict (Callable): the network F, from (B, 3, h, w) to (B, 3, s h, s w), with gradients for its input.
        lr (Tensor): (1, 3, h, w), RGB in [0, 1].
        region (Region): where the detector looks, in SR pixels.
        detector (Callable | None): D, from SR (1, 3, H, W) and the region to one number. None: `gradient_strength`.
        sigma (float): standard deviation, in LR pixels, of the strongest blur.
        steps (int): into how many steps the path is divided.
        progress (str | None): label of a progress bar, shown on terminals only; None for no bar.

    Raises:
        ValueError: `lr` is no single image, `sigma` or `steps` is not positive, or SR does not hold the region.
    """
    if lr.dim() != 4 or len(lr) != 1:
        raise ValueError(f'lr must be one image (1, 3, h, w), not {tuple(lr.shape)}')
    if sigma <= 0 or steps < 1:
        raise ValueError(f'sigma must be above 0 and steps at least 1, not {sigma} and {steps}')
    detect = detector or gradient_strength
    total = torch.zeros_like(lr[0])
    previous: tuple[Tensor, Tensor] | None = None
    values: list[float] = []
    for step in tqdm(range(steps + 1), desc=progress, unit='step', disable=None if progress else True, leave=False):
        image = blurred(lr, sigma * (1 - step / steps)).detach().requires_grad_()
        with torch.enable_grad():
            sr = predict(image)
            if not region.inside(*sr.shape[-2:]):
                height, width = sr.shape[-2:]
                raise ValueError(f'SR has {width}x{height} pixels and does not hold the whole of {region}')
            value = detect(sr, region)
        (gradient,) = torch.autograd.grad(value, image)
        if previous is not None:
            total += ((previous[1] + gradient) / 2 * (image - previous[0]))[0].detach()
        previous = image.detach(), gradient
        values.append(value.item())
    return Attribution(total, values[-1] - values[0])


def gradient_strength(sr: Tensor, region: Region) -> Tensor:
    """Gu and Dong's detector: the sum of |gradient| over a region and all channels, by forward differences."""
    part = sr[..., region.top : region.top + region.height + 1, region.left : region.left + region.width + 1]
    down = part[..., 1:, :-1] - part[..., :-1, :-1]
    right = part[..., :-1, 1:] - part[..., :-1, :-1]
    return (down**2 + right**2 + 1e-12).sqrt().sum()  # the root has no gradient at 0


def blurred(image: Tensor, sigma: float) -> Tensor:
    """An image (B, C, h, w) blurred by a Gaussian; its border is continued by its last pixels."""
    radius = math.ceil(4 * sigma)
    if radius == 0:
        return image
    axis = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float64)
    kernel = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(image.dtype)
    channels = image.shape[1]
    wide = F.pad(image, (radius, radius, radius, radius), 'replicate')
    wide = F.conv2d(wide, kernel.expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(wide, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)


def gini(values: Tensor) -> float:
    """The Gini coefficient of numbers from 0 on: sum_ij |x_i - x_j| / (2 n^2 mean), 0 where all are equal."""
    ordered = values.flatten().double().sort().values
    total = ordered.sum().item()
    count = ordered.numel()
    if total == 0:
        return 0.0
    ranks = torch.arange(1, count + 1, dtype=torch.float64, device=ordered.device)
    return 2 * (ranks * ordered).sum().item() / (count * total) - (count + 1) / count


def diffusion_index(strength: Tensor) -> float:
    """(1 - Gini coefficient) * 100: how evenly an attribution is spread over the image."""
    return (1 - gini(strength)) * 100
