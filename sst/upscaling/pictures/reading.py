"""Reading any usual image file."""

import io
import math
import os
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sst.upscaling.pictures import exif as exif_data
from sst.upscaling.pictures import tiff
from sst.upscaling.pictures.decoding import bits_stored, decoded, from_cmyk, jpeg_2000_of, samples_of
from sst.upscaling.pictures.headers import COLOUR_CHUNKS, XMP_KEYWORD
from sst.upscaling.pictures.image_file import DamagedError, ImageFile, Metadata, UnreadableError
from sst.upscaling.pictures.kinds import NAMES, READ, unreadable_kind
from sst.upscaling.readable import read_start
from sst.utils import pixels
from sst.utils.errors import UserError
from sst.utils.files import is_text, one_line
from sst.utils.jpeg import CORNERS, lacks_pixels
from sst.utils.png import chunk, chunks, without_damaged_extras

_FORMATS = tuple(sorted({*READ.values()} - {'TIFF', 'TGA'}))  # recognised by content; `tiff` reads TIFF
_DAMAGED_EXIF = 'its EXIF data is damaged and left out'


def read_image(path: str | os.PathLike, megapixels: float = pixels.MEGAPIXELS) -> ImageFile:
    """Read an image of any of the kinds in `kinds.py`, whatever its name ends with.

    8 bits, and 16 of PNG, TIFF, AVIF and JPEG 2000; grey, palette, RGB, CMYK (converted to sRGB), with or without
    alpha; turned upright. Of several frames or pages the first is read.

    Args:
        path: of the file.
        megapixels: million pixels of the largest image that is read.

    Raises:
        UserError: one line that names the file. It is missing, no image, truncated, damaged or too large, or its
            samples are not whole numbers of up to 16 bits.
    """
    path = Path(path)
    content = read_start(path, 'an image')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # our notes say what matters of them
            return _read(content, READ.get(path.suffix.lower()) == 'TGA', megapixels)
    except MemoryError as fault:
        raise UserError(f'{path}: is too large for the memory; cut it in parts') from fault
    except Exception as fault:  # damaged bytes make the decoders raise anything
        raise UserError(f'{path}: cannot be read as an image; {_reason(fault, content, path)}') from fault


def _reason(fault: Exception, content: bytes, path: Path) -> str:
    if isinstance(fault, UnreadableError):
        return str(fault)
    if not isinstance(fault, UnidentifiedImageError):
        # These errors are meant for users; the others explain nothing.
        what = f' ({one_line(fault)})' if isinstance(fault, DamagedError | OSError | SyntaxError) else ''
        return f'it is damaged{what}: fetch or copy it again'
    if kind := unreadable_kind(content, path.suffix.lower()):
        return f'it is {kind}: convert it to PNG, JPEG or TIFF'
    return 'it is a text file' if is_text(content[:4096]) else f'it is damaged or of another kind than {NAMES}'


def _read(content: bytes, tga: bool, megapixels: float) -> ImageFile:
    """An image from the bytes of its file, which may be a TGA if its name says so."""
    if content.startswith(tiff.HEADS):
        samples, metadata, notes, inks = tiff.read(content, megapixels)
        return _image(samples, metadata, notes, 'TIFF', inks=inks)
    content, damaged = without_damaged_extras(content)
    notes = [f'its part {kind!r} is damaged (wrong checksum) and left out' for kind in damaged]
    with pixels.opened(io.BytesIO(content), (*_FORMATS, 'TGA') if tga else _FORMATS) as image:
        if why := pixels.too_large(*image.size, megapixels):
            raise UnreadableError(why)
        file_format = 'JPEG' if image.format == 'MPO' else image.format or ''  # MPO: JPEG with a preview after it
        frames = getattr(image, 'n_frames', 1)
        if file_format != 'JPEG' and frames > 1:
            notes.append(f'only the first of {frames} frames is enlarged')
        bits = bits_stored(content, file_format)
        deep_avif = file_format == 'AVIF' and bits > 8  # Pillow decodes colours of 8 bits more smoothly
        if file_format in ('JPEG', 'PNG', 'WEBP') or deep_avif:
            samples = decoded(content, file_format)
        elif file_format == 'JPEG2000' and bits > 8:
            samples = jpeg_2000_of(content, bits)
        else:
            samples = samples_of(image)
        if bits > 8 * samples.itemsize:
            notes.append(f'its {bits} bits become 8 in reading')
        if file_format == 'PNG':
            image.load()  # texts may follow the pixels
        if file_format == 'JPEG' and lacks_pixels(content, samples[CORNERS]):
            raise DamagedError('its data ends before its last pixels')
        metadata = _metadata(image, notes)
        inks = image.mode == 'CMYK'
    if file_format == 'PNG':
        kept = (chunk(kind, part) for kind, part, _ in chunks(content) if kind in COLOUR_CHUNKS)
        metadata = replace(metadata, png_colour=b''.join(kept))
    return _image(samples, metadata, notes, file_format, inks=inks, upright=deep_avif)


def _image(
    samples: np.ndarray, metadata: Metadata, notes: list[str], file_format: str, *, inks: bool, upright: bool = False
) -> ImageFile:
    """An image of stored samples, turned as the metadata says unless they are `upright` already."""
    if inks:
        samples, note = from_cmyk(samples, metadata.icc)
        metadata = replace(metadata, icc=None)
        notes.append(note)
    xmp, dpi = metadata.xmp, metadata.dpi
    try:
        exif = exif_data.checked(metadata.exif)
    except ValueError:
        exif = None
        notes.append(_DAMAGED_EXIF)
    turn = exif_data.orientation(exif, xmp)
    if turn != 1:
        xmp = exif_data.upright_xmp(xmp) if xmp else None
        exif = exif_data.upright_exif(exif) if exif else None
        if not upright:
            samples = exif_data.turned_upright(samples, turn)
    if dpi and not all(math.isfinite(value) and 0 < value < 1e6 for value in dpi):
        dpi = None
    if dpi and turn >= 5:
        dpi = dpi[::-1]
    metadata = replace(metadata, exif=exif, xmp=xmp, dpi=dpi)
    return ImageFile(samples, 8 * samples.itemsize, file_format, metadata, tuple(notes))


def _metadata(image: Image.Image, notes: list[str]) -> Metadata:
    info = image.info
    texts = {str(key): str(text) for key, text in getattr(image, 'text', {}).items()}
    xmp, exif = info.get('xmp'), info.get('exif')
    dpi: tuple[float, float] | None = None
    if XMP_KEYWORD in texts:
        xmp = texts.pop(XMP_KEYWORD).encode()
    # Old versions of ImageMagick write profiles so. Only EXIF needs it: the others have chunks of their own.
    profiles = {key: texts.pop(key) for key in list(texts) if key.startswith('Raw profile type ')}
    if not exif and 'Raw profile type exif' in profiles:
        try:
            exif = bytes.fromhex(''.join(profiles['Raw profile type exif'].split('\n')[3:]))
        except ValueError:
            notes.append(_DAMAGED_EXIF)
    if comment := info.get('comment'):
        texts['Comment'] = comment.decode(errors='replace') if isinstance(comment, bytes) else str(comment)
    with suppress(KeyError, ValueError, ZeroDivisionError):  # none, or a fraction of 0 / 0
        dpi = float(info['dpi'][0]), float(info['dpi'][1])
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Metadata(icc=info.get('icc_profile') or None, exif=exif, xmp=xmp, dpi=dpi, texts=texts)
