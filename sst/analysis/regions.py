"""Squares of an image: where a method errs most, and where methods differ most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, in pixels of that image."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """The part of an image (H, W, ...) that lies in the region."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def divided(self, scale: int) -> 'Region':
        """The region of the LR image that holds this region of the SR image."""
        bottom, right = -(-(self.top + self.height) // scale), -(-(self.left + self.width) // scale)
        top, left = self.top // scale, self.left // scale
        return Region(top, left, bottom - top, right - left)

    def inside(self, height: int, width: int) -> bool:
        """Whether an image of this size holds the whole region."""
        fits = self.top + self.height <= height and self.left + self.width <= width
        return fits and min(self.top, self.left) >= 0 and min(self.height, self.width) >= 1


def largest_error(image: np.ndarray, original: np.ndarray, side: int) -> Region:
    """The square of at most `side` pixels with the largest squared error between two images (H, W, C)."""
    return _greatest(((image.astype(np.float64) - original) ** 2).sum(axis=2), side)


def largest_disagreement(images: Sequence[np.ndarray], original: np.ndarray, side: int) -> Region:
    """The square of at most `side` pixels in which the squared errors of images (H, W, C) vary most between them.

    The measure of a pixel is the standard deviation of its squared error over the images. One image alone: its error.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError('largest_disagreement needs at least one image')
    errors = [((image.astype(np.float64) - original) ** 2).sum(axis=2) for image in images]
    return _greatest(np.std(errors, axis=0) if len(errors) > 1 else errors[0], side)


def _greatest(values: np.ndarray, side: int) -> Region:
    """The square with the greatest sum of values (H, W)."""
    side = min(side, *values.shape)
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(squares.argmax(), squares.shape)
    return Region(int(top), int(left), side, side)
