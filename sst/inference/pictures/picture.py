"""A picture with all that its file says about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sst.utils.pixels import too_large

_BAND = 1 << 22  # pixels that are converted at a time


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


class Bands:
    """Pixels that are computed from top to bottom each time they are gone through, and never all there.

    Iterating gives float32 arrays (rows, W, C) in [0, 1], `shape[0]` rows in all.
    """

    shape: tuple[int, int, int]

    def __iter__(self) -> Iterator[np.ndarray]:
        raise NotImplementedError


@dataclass(frozen=True)
class Picture:
    """A picture, the right way up.

    Args:
        samples: (H, W, C) uint8, uint16 or float32 in [0, 1], or `Bands`, as the file encodes them (gamma left on);
            C = 1 to 4: grey, grey and alpha, RGB, RGBA. 1 is opaque; colours are not multiplied by alpha.
        bits: of a sample in the file, 8 or 16; fewer count as 8.
        format: of the file: PNG, JPEG, WEBP, TIFF, BMP, GIF or another one that Pillow names.
        metadata: what else the file says.
        notes: what was lost or changed in reading, a line each, for the user to see.
    """

    samples: np.ndarray | Bands
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
        """Whether there are no colours."""
        return self.shape[2] < 3

    @property
    def has_alpha(self) -> bool:
        return self.shape[2] in (2, 4)

    @property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) float32 in [0, 1], three equal channels if grey; computed anew each time."""
        return rgb_of(self.whole())

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) float32 in [0, 1], None where all is opaque; computed anew each time."""
        return self.whole()[..., -1] if self.has_alpha else None

    def bands(self) -> Iterator[np.ndarray]:
        """Float32 (rows, W, C) in [0, 1] from top to bottom, computed as they are taken."""
        if isinstance(self.samples, Bands):
            yield from self.samples
            return
        height, width, _ = self.shape
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            yield as_floats(self.samples[top : top + rows])

    def whole(self) -> np.ndarray:
        """(H, W, C) float32 in [0, 1]."""
        whole = np.empty(self.shape, np.float32)
        top = 0
        for band in self.bands():
            whole[top : top + len(band)] = band
            top += len(band)
        return whole


def as_floats(samples: np.ndarray) -> np.ndarray:
    """Samples of a file, uint8 or uint16, as float32 in [0, 1]; floats as they are."""
    if samples.dtype.kind == 'f':
        return samples
    return np.divide(samples, np.float32(np.iinfo(samples.dtype).max), dtype=np.float32)


def rgb_of(samples: np.ndarray) -> np.ndarray:
    """The colours (..., 3) of samples (..., C): three equal channels of grey ones. A view where there are colours."""
    if samples.shape[-1] < 3:
        return np.repeat(samples[..., :1], 3, axis=-1)
    return samples[..., :3]


def check_size(width: int, height: int, megapixels: float) -> None:
    """Refuse what claims more million pixels, before it is decoded. Raises `UnreadableError`."""
    if why := too_large(width, height, megapixels):
        raise UnreadableError(why)
