"""Decoding by Pillow, and by OpenCV what Pillow decodes wrongly."""

import contextlib
import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageCms

from sst.inference.pictures.picture import DamagedError, UnreadableError, check_size
from sst.utils import pixels

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


@contextlib.contextmanager
def opened(content: bytes, formats: tuple[str, ...], megapixels: float) -> Iterator[Image.Image]:
    """A picture of one of the formats, opened but not decoded.

    Raises:
        UnreadableError: more million pixels than `megapixels`.
        PIL.UnidentifiedImageError: none of the formats.
    """
    with pixels.opened(io.BytesIO(content), formats) as image:
        check_size(*image.size, megapixels)
        yield image


def samples_of(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 of the first frame, C = 1 to 4: grey, grey and alpha, RGB, RGBA; uint16 of 16-bit grey.

    Raises:
        UnreadableError: samples of other kinds.
    """
    if image.mode.startswith('I;16') or (image.mode == 'I' and image.format == 'PPM'):
        return np.asarray(image).astype(np.uint16)[..., None]
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


def jpeg_2000_of(content: bytes, bits: int) -> np.ndarray:
    """(H, W, C) uint16 of a JPEG 2000 of 9 to 16 bits, of which Pillow makes 8 that are wrong where it is white.

    Raises:
        DamagedError: the pixels cannot be decoded.
    """
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise DamagedError('its pixels cannot be decoded')
    array = array.reshape(*array.shape[:2], -1)
    channels = [2, 1, 0, 3][: array.shape[2]] if array.shape[2] > 2 else [0]
    return np.rint(np.arange(1 << bits) * (65535 / ((1 << bits) - 1))).astype(np.uint16)[array[..., channels]]


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
