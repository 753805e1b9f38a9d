"""Pixels of image files as arrays: by libvips, and by Pillow and OpenCV where our build of libvips cannot read."""

import io
import logging
import re
import tempfile

import cv2
import numpy as np
import pyvips
from PIL import Image, ImageCms

from sst.upscaling.pictures.image_file import DamagedError, UnreadableError
from sst.utils.cores import usable_cores

LOADERS = {'AVIF': 'heif', 'JPEG': 'jpeg', 'PNG': 'png', 'TIFF': 'tiff', 'WEBP': 'webp'}
_KEPT_SPACES = ('b-w', 'grey16', 'srgb', 'rgb', 'rgb16', 'cmyk')
_IN_MEMORY = 1 << 29  # samples; more are kept in a temporary file
# Modes that Pillow turns into samples of 8 bits, and what they become.
_BECOMES = {'La': 'LA', 'RGBa': 'RGBA', 'RGBX': 'RGB', 'YCbCr': 'RGB', '1': 'L'}

logging.getLogger('pyvips').setLevel(logging.CRITICAL)  # our errors say what it cannot read
pyvips.block_untrusted_set(True)
pyvips.operation_block_set('VipsForeignLoadRaw', False)  # for our own temporary files
pyvips.cache_set_max(0)  # a server would keep files that were deleted long ago
pyvips.concurrency_set(min(8, usable_cores()))  # each thread holds some lines of the image


def decoded(content: bytes, file_format: str, **options: int) -> np.ndarray:
    """(H, W, C) uint8 or uint16 of a file of a format in `LOADERS`; CMYK has four channels, 255 is full ink.

    Args:
        content: of the file.
        file_format: as Pillow names it. Only libvips' reader for this format sees the file.
        **options: of libvips' reader.

    Raises:
        DamagedError: the pixels cannot be decoded, or end early.
        UnreadableError: the samples are not whole numbers of 8 or 16 bits.
    """
    load = getattr(pyvips.Image, f'{LOADERS[file_format]}load_buffer')
    try:
        image = load(content, access='sequential', fail_on='error', **options)
        if image.interpretation not in _KEPT_SPACES and image.format != 'float':
            image = image.colourspace('rgb16' if image.format == 'ushort' else 'srgb')
        elif image.interpretation == 'lab':
            image = image.colourspace('srgb')
        if image.format not in ('uchar', 'ushort'):
            raise UnreadableError(f'its samples are of the kind {image.format!r}: convert it to 8 or 16 bits')
        shape = (image.height, image.width, image.bands)
        if image.width * image.height * image.bands <= _IN_MEMORY:
            return image.numpy().reshape(shape)
        with tempfile.TemporaryFile() as file:
            image.rawsave_target(pyvips.Target.new_to_descriptor(file.fileno()))
            return np.memmap(file, np.uint16 if image.format == 'ushort' else np.uint8, 'r', shape=shape)
    except pyvips.Error as fault:
        raise DamagedError(last_line(fault)) from fault


def last_line(fault: pyvips.Error) -> str:
    """The last line of what libvips says, which names the cause."""
    return str(fault.detail).strip().splitlines()[-1]


def samples_of(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8 of the first frame by Pillow, C = 1 to 4: grey, grey and alpha, RGB, RGBA; uint16 of 16-bit grey.

    Raises:
        UnreadableError: the samples are of another kind.
    """
    if image.mode.startswith('I;16') or (image.mode == 'I' and image.format == 'PPM'):
        return np.asarray(image).astype(np.uint16)[..., None]
    mode = _BECOMES.get(image.mode, image.mode)
    if image.mode in ('P', 'PA'):
        mode = 'RGBA' if image.has_transparency_data else 'RGB'
    elif image.mode == 'L' and image.format == 'GIF' and 'transparency' in image.info:
        mode = 'LA'
    elif mode not in ('L', 'LA', 'RGB', 'RGBA'):
        raise UnreadableError(f'its pixels are of the kind {image.mode!r}: convert it to RGB')
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    return array.reshape(*array.shape[:2], -1)


def jpeg_2000_of(content: bytes, bits: int) -> np.ndarray:
    """(H, W, C) uint16 of a JPEG 2000 of 9 to 16 bits. Pillow reduces them to 8 and gets white wrong.

    Raises:
        DamagedError: the pixels cannot be decoded.
    """
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise DamagedError('its pixels cannot be decoded')
    array = array.reshape(*array.shape[:2], -1)
    channels = [2, 1, 0, 3][: array.shape[2]] if array.shape[2] > 2 else [0]
    return np.rint(np.arange(1 << bits) * (65535 / ((1 << bits) - 1))).astype(np.uint16)[array[..., channels]]


def bits_stored(content: bytes, file_format: str) -> int:
    """Bits of a sample in an AVIF, JPEG 2000 or coloured PPM file; 8 for other formats."""
    if file_format == 'AVIF' and (place := content.find(b'av1C')) >= 0:
        deep, deeper = content[place + 6] & 0x40, content[place + 6] & 0x20
        return 12 if deep and deeper else 10 if deep else 8
    if file_format == 'JPEG2000' and (place := content.find(b'\xff\x4f\xff\x51')) >= 0:
        return (content[place + 42] & 0x7F) + 1
    if file_format == 'PPM' and (header := re.match(rb'P[36](?:\s|#.*\n)+\d+\s+\d+\s+(\d+)', content)):
        return int(header[1]).bit_length()
    return 8


def from_cmyk(inks: np.ndarray, icc: bytes | None) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 sRGB of inks (H, W, 4), by their colour profile if it is usable, and a note that says so."""
    image = Image.fromarray(inks if inks.dtype == np.uint8 else (inks >> 8).astype(np.uint8), 'CMYK')
    if not icc:
        return np.asarray(image.convert('RGB')), 'CMYK is converted to RGB roughly, because it has no colour profile'
    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile('sRGB'),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode='RGB',
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return np.asarray(converted), 'CMYK is converted to sRGB by its colour profile'
    except (ImageCms.PyCMSError, OSError):
        note = 'CMYK is converted to RGB roughly, because its colour profile cannot be used'
        return np.asarray(image.convert('RGB')), note
