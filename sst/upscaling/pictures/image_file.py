"""An image with everything that its file says about it."""

from dataclasses import dataclass, field

import numpy as np

from sst.inference.enlarging import Samples, whole


class UnreadableError(Exception):
    """Why a file is not read, in words for the user; `read_image` puts the file's name in front."""


class DamagedError(Exception):
    """What is missing or damaged in a file, in words for the user."""


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels."""

    icc: bytes | None = None  # colour profile; None stands for sRGB
    exif: bytes | None = None  # a TIFF structure, without the "Exif" in front; its orientation is 1
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # horizontal, vertical
    texts: dict[str, str] = field(default_factory=dict)  # of PNG, by keyword; JPEG's comment is 'Comment'
    png_colour: bytes = b''  # whole PNG chunks: gAMA, cHRM, sRGB, cICP


@dataclass(frozen=True)
class ImageFile:
    """An upright image, with what its file says.

    Args:
        samples: (H, W, C) uint8, uint16 or float32 in [0, 1], or `Bands`, encoded as in the file (gamma is kept);
            C = 1 to 4: grey, grey and alpha, RGB, RGBA. Alpha 1 is opaque; colours are not multiplied by alpha.
        bits: of a sample in the file, 8 or 16; fewer count as 8.
        format: of the file: PNG, JPEG, WEBP, TIFF, BMP, GIF or another name that Pillow uses.
        metadata: what else the file says.
        notes: for the user: what was lost or changed in reading, a line each.
    """

    samples: Samples
    bits: int = 8
    format: str = 'PNG'
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.samples.shape
        return height, width, channels

    @property
    def grey(self) -> bool:
        return self.shape[2] < 3

    @property
    def has_alpha(self) -> bool:
        return self.shape[2] in (2, 4)

    def whole(self) -> np.ndarray:
        """(H, W, C) float32 in [0, 1]."""
        return whole(self.samples)
