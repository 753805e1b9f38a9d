"""Decoding by Pillow, to samples of 8 bits."""

import contextlib
import io
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from sst.inference.pictures.picture import UnreadableError, check_size

# Modes that Pillow turns into samples of 8 bits, and what they become.
_BECOMES = {
    '1': 'L',
    'L': 'L',
    'LA': 'LA',
    'La': 'LA',
    'RGB': 'RGB',
    'RGBA': 'RGBA',
    'RGBa': 'RGBA',
    'RGBX': 'RGB',
    'YCbCr': 'RGB',
}


class _LiftedLimit:
    """Pillow's limit of pixels, in whose place ours stands, lifted while any thread is inside: it is the process's."""

    def __init__(self) -> None:
        self.lock, self.inside, self.limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                Image.MAX_IMAGE_PIXELS = self.limit


_LIFTED = _LiftedLimit()


@contextlib.contextmanager
def opened(content: bytes, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """A picture of one of the formats, opened but not decoded, no larger than `MAX_PIXELS`.

    Raises:
        UnreadableError: too large.
        PIL.UnidentifiedImageError: none of the formats.
    """
    with _LIFTED, Image.open(io.BytesIO(content), formats=formats) as image:
        check_size(*image.size)
        yield image


def samples_of(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 of the first frame, C = 1 to 4: grey, grey and alpha, RGB, RGBA.

    Raises:
        UnreadableError: samples that are no 8 bits.
    """
    if image.mode in ('P', 'PA'):
        becomes = 'RGBA' if image.has_transparency_data else 'RGB'
    elif image.mode == 'L' and image.format == 'GIF' and 'transparency' in image.info:
        becomes = 'LA'
    elif image.mode in _BECOMES:
        becomes = _BECOMES[image.mode]
    else:
        raise UnreadableError(f'its pixels are of the kind {image.mode!r}: convert it to RGB')
    array = np.asarray(image if image.mode == becomes else image.convert(becomes))
    return array.reshape(*array.shape[:2], -1)


def from_cmyk(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """A CMYK picture as sRGB, by its colour profile where it has one that can be used, and a note that says so."""
    if icc:
        try:
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile('sRGB')
            converted = ImageCms.profileToProfile(
                image,
                source,
                target,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode='RGB',
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError):
            return image.convert('RGB'), 'CMYK is converted to RGB without its colour profile, which cannot be used'
        assert converted is not None  # it is not changed in place
        return converted, 'CMYK is converted to sRGB by its colour profile'
    return image.convert('RGB'), 'CMYK is converted to RGB roughly: it has no colour profile'
