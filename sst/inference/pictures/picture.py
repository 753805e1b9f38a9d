"""A picture with all that its file says about it."""

from dataclasses import dataclass, field

import numpy as np

MAX_PIXELS = 400_000_000  # 20000 x 20000: 4.8 GB as float32


class UnreadableError(Exception):
    """Why a file is not read, in words for the user; `read_picture` puts the file's name in front."""


class DamagedError(Exception):
    """What of a file is missing or damaged, in words for the user."""


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels."""

    icc: bytes | None = None  # colour profile; None stands for sRGB
    exif: bytes | None = None  # a TIFF structure, without the "Exif" in front; its orientation is 1
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None  # horizontal, vertical
    texts: dict[str, str] = field(default_factory=dict)  # of PNG, by keyword; JPEG's comment is 'Comment'
    png_colour: bytes = b''  # whole PNG chunks: gAMA, cHRM, sRGB, cICP


@dataclass(frozen=True)
class Picture:
    """A picture, the right way up.

    Args:
        rgb: (H, W, 3) float32 in [0, 1], as the file encodes them (gamma left on); three equal channels if `grey`.
        alpha: (H, W) float32 in [0, 1], 1 is opaque; colours are not multiplied by it. None: opaque.
        grey: whether the file had no colours.
        bits: of a sample in the file, 8 or 16; fewer count as 8.
        format: of the file: PNG, JPEG, WEBP, TIFF, BMP or GIF.
        metadata: what else the file says.
        notes: what was lost or changed in reading, a line each, for the user to see.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    bits: int = 8
    format: str = 'PNG'
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()


def check_size(width: int, height: int) -> None:
    """Refuse what would not fit into memory, before it is decoded. Raises `UnreadableError`."""
    if width * height > MAX_PIXELS:
        raise UnreadableError(
            f'it has {width}x{height} pixels, which are {width * height / 1e6:.0f} million, and '
            f'{MAX_PIXELS / 1e6:.0f} million are the limit: cut it into parts'
        )
