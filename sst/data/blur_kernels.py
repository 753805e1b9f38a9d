"""Random blur kernels, drawn as Real-ESRGAN (arXiv 2107.10833) draws them; their formulas are BasicSR's."""

import math
from collections.abc import Sequence

import numpy as np
from basicsr.data.degradations import (
    bivariate_Gaussian,
    bivariate_generalized_Gaussian,
    bivariate_plateau,
    circular_lowpass_kernel,
)

SIZES = range(7, 22, 2)
# (family, whether it is round) and how often it is drawn
FAMILIES = [
    (('gaussian', True), 0.45),
    (('gaussian', False), 0.25),
    (('generalized', True), 0.12),
    (('generalized', False), 0.03),
    (('plateau', True), 0.12),
    (('plateau', False), 0.03),
]
SHAPES = {'generalized': (0.5, 4.0), 'plateau': (1.0, 2.0)}  # ranges of beta; half of the draws lie above 1
NEGLIGIBLE = 1e-4  # share of a kernel that its outermost ring may hold and be left out


def blur_kernel(
    sigma_range: Sequence[float],
    sinc_prob: float,
    rng: np.random.Generator,
    sizes: Sequence[int] = SIZES,
    trim: bool = True,
) -> np.ndarray:
    """A random blur (k, k), float32, k odd and one of `sizes`, of sum 1 and equal to itself turned by 180 degrees.

    Args:
        sigma_range: standard deviations in pixels.
        sinc_prob: how often a low-pass filter, which rings, is drawn in place of a Gaussian-like blur.
        rng: the source of all randomness.
        sizes: k is drawn from them, all alike.
        trim: leave out outer rings that hold next to nothing, so that k may be smaller.
    """
    size = int(rng.choice(sizes))
    if rng.random() < sinc_prob:
        return sinc_kernel(rng, size)
    family, is_round = FAMILIES[rng.choice(len(FAMILIES), p=[share for _, share in FAMILIES])][0]
    low, high = sigma_range
    sigma_x, sigma_y = rng.uniform(low, high, 2)
    shape = (size, sigma_x, sigma_y, rng.uniform(-math.pi, math.pi))
    if family == 'gaussian':
        kernel = bivariate_Gaussian(*shape, isotropic=is_round)
    else:
        low, high = SHAPES[family]
        beta = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
        formula = bivariate_generalized_Gaussian if family == 'generalized' else bivariate_plateau
        kernel = formula(*shape, beta, isotropic=is_round)
    return (_trimmed(kernel) if trim else kernel).astype(np.float32)


def sinc_kernel(rng: np.random.Generator, size: int | None = None, sizes: Sequence[int] = SIZES) -> np.ndarray:
    """A random circular low-pass filter (k, k), float32, of sum 1.

    Args:
        size: k, odd; of the larger ones some cut off lower frequencies. None draws it from `sizes`, with the usual
            cut-off.
    """
    lowest = math.pi / 5 if size is not None and size >= 13 else math.pi / 3
    with np.errstate(divide='ignore', invalid='ignore'):  # in the middle, which BasicSR fills in afterwards
        kernel = circular_lowpass_kernel(rng.uniform(lowest, math.pi), size or int(rng.choice(sizes)))
    return kernel.astype(np.float32)


def _trimmed(kernel: np.ndarray) -> np.ndarray:
    """Without the outer rings that hold next to nothing: a small kernel is several times as quick."""
    while len(kernel) > 3 and kernel.sum() - kernel[1:-1, 1:-1].sum() < NEGLIGIBLE:
        kernel = kernel[1:-1, 1:-1]
    return kernel / kernel.sum()
