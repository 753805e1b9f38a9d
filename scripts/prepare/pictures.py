"""Reading, writing and shrinking pictures for the datasets."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from sst.utils.imresize import imresize


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8; grey pictures get three equal channels."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB'))


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 picture so that `path` never holds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        Image.fromarray(picture).save(unfinished, format='PNG')
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def shrink(picture: np.ndarray, scale: int) -> np.ndarray:
    """The LR picture of an HR picture whose sides are multiples of `scale`."""
    return imresize(picture, Fraction(1, scale))
