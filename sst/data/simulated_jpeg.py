"""JPEG as the release of SSTReal simulates it, with a quality that is a real number (BasicSR's DiffJPEG)."""

import math

import numpy as np

BLOCK = 8
# The tables of the JPEG standard (ITU-T T.81, annex K). That of luma is transposed: the simulation reads it so.
LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
).T
CHROMA = np.full((BLOCK, BLOCK), 99, np.float32)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# From RGB to Y, Cb and Cr, whose zero is 128.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)


def _transform() -> np.ndarray:
    """The orthonormal discrete cosine transform of 8 numbers."""
    frequency, place = np.mgrid[:BLOCK, :BLOCK]
    matrix = np.cos((2 * place + 1) * frequency * math.pi / (2 * BLOCK)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.astype(np.float32)


DCT = _transform()


def simulated_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """An image as JPEG leaves it, without any rounding but that of the coefficients.

    Sides are extended by black to multiples of 16, and cut off again. Colour has half the resolution.

    Args:
        image: (H, W, 3), float32, RGB in [0, 1].
        quality: above 0 and at most 100. The tables are multiplied by 50 / quality below 50, else 2 - quality / 50, and
            neither rounded nor limited; at 100 no coefficient is rounded.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % (2 * BLOCK)), (0, -width % (2 * BLOCK)), (0, 0)))
    factor = np.float32(50 / quality if quality < 50 else 2 - quality / 50)
    colours = (255 * padded) @ TO_YCC.T
    luma = _quantised(colours[..., 0] - 128, LUMA * factor) + 128
    small = colours[..., 1:].reshape(len(padded) // 2, 2, -1, 2, 2).mean(axis=(1, 3))
    blue, red = (_quantised(small[..., index], CHROMA * factor).repeat(2, 0).repeat(2, 1) for index in (0, 1))
    rgb = np.stack((luma, blue, red), axis=-1) @ TO_RGB.T
    return np.clip(rgb[:height, :width], 0, 255) / 255


def _quantised(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A plane (H, W), whose blocks of 8 x 8 pixels are transformed, rounded to multiples of the table, and back."""
    if not table.any():
        return plane
    height, width = plane.shape
    blocks = plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(1, 2)
    rounded = np.rint(DCT @ blocks @ DCT.T / table) * table
    return (DCT.T @ rounded @ DCT).swapaxes(1, 2).reshape(height, width)
