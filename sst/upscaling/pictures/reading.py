"""Reading any usual picture file."""

import io
import math
import os
import warnings
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

_FORMATS = tuple(sorted({*READ.values()} - {'TIFF', 'TGA'}))  # by what is in them; TIFF has its own way


def read_image(path: str | os.PathLike, megapixels: float = pixels.MEGAPIXELS) -> ImageFile:
    """Read a picture of any of the kinds in `kinds.py`, whatever its name ends with.

    8 bits, and 16 of PNG, TIFF, AVIF and JPEG 2000; grey, palette, RGB, CMYK (converted to sRGB), with or without
    alpha; turned the right way up. Of several frames or pages the first.

    Args:
        path: of the file.
        megapixels: million pixels of the largest picture that is read.

    Raises:
        UserError: one line that names the file and what is wrong: no file, no picture, truncated or damaged, too
            large, samples that are not whole numbers of up to 16 bits.
    """
    path = Path(path)
    content = read_start(path, 'picture')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # our notes say what matters of them
            return _read(content, READ.get(path.suffix.lower()) == 'TGA', megapixels)
    except UnreadableError as fault:
        raise UserError(f'{path}: cannot be read as a picture; {fault}') from fault
    except MemoryError as fault:
        raise UserError(f'{path}: not enough memory to read it; cut it into parts') from fault
    except UnidentifiedImageError as fault:
        raise UserError(f'{path}: cannot be read as a picture; {_other_kind(content, path)}') from fault
    except Exception as fault:  # damaged bytes make the decoders raise anything
        # What decoders say on purpose; the other errors explain nothing.
        what = f' ({one_line(fault)})' if isinstance(fault, DamagedError | OSError | SyntaxError) else ''
        raise UserError(f'{path}: cannot be read as a picture; it is damaged{what}: fetch or copy it again') from fault


def _other_kind(content: bytes, path: Path) -> str:
    if kind := unreadable_kind(content, path.suffix.lower()):
        return f'it is {kind}: convert it to PNG, JPEG or TIFF'
    if is_text(content[:4096]):
        return 'it is a text file'
    return f'it is damaged or of another kind than {NAMES}'


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
        file_format = 'JPEG' if image.format == 'MPO' else image.format or ''  # MPO: JPEG with a preview behind it
        frames = getattr(image, 'n_frames', 1)
        if file_format != 'JPEG' and frames > 1:
            notes.append(f'only the first of {frames} frames is enlarged')
        bits = bits_stored(content, file_format)
        deep_avif = file_format == 'AVIF' and bits > 8  # the colours of 8 bits Pillow makes smoother
        if file_format in ('JPEG', 'PNG', 'WEBP') or deep_avif:
            samples = decoded(content, file_format)
        elif file_format == 'JPEG2000' and bits > 8:
            samples = jpeg_2000_of(content, bits)
        else:
            samples = samples_of(image)
        if bits > 8 * samples.itemsize:
            notes.append(f'its {bits} bits become 8 in reading')
        if file_format == 'PNG':
            image.load()  # texts may stand behind the pixels
        if file_format == 'JPEG' and lacks_pixels(content, samples[CORNERS]):
            raise DamagedError('its data ends before its last pixels')
        metadata = _metadata(image, notes)
        inks = image.mode == 'CMYK'
    if file_format == 'PNG':
        kept = (chunk(kind, part) for kind, part, _ in chunks(content) if kind in COLOUR_CHUNKS)
        metadata = replace(metadata, png_colour=b''.join(kept))
    return _image(samples, metadata, notes, file_format, inks=inks, upright=deep_avif)


def _image(
    samples: np.ndarray,
    metadata: Metadata,
    notes: list[str],
    file_format: str,
    *,
    inks: bool,
    upright: bool = False,
) -> ImageFile:
    """An image of samples as they are stored, turned as the metadata says if they are not `upright` already."""
    if inks:
        samples, note = from_cmyk(samples, metadata.icc)
        metadata = replace(metadata, icc=None)
        notes.append(note)
    xmp, dpi = metadata.xmp, metadata.dpi
    try:
        exif = exif_data.checked(metadata.exif)
    except ValueError:
        exif = None
        notes.append('its EXIF data is damaged and left out')
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
    if XMP_KEYWORD in texts:
        xmp = texts.pop(XMP_KEYWORD).encode()
    # ImageMagick's way of old; chunks of their own state the other such profiles.
    profiles = {key: texts.pop(key) for key in list(texts) if key.startswith('Raw profile type ')}
    if not exif and 'Raw profile type exif' in profiles:
        try:
            exif = bytes.fromhex(''.join(profiles['Raw profile type exif'].split('\n')[3:]))
        except ValueError:
            notes.append('its EXIF data is damaged and left out')
    if comment := info.get('comment'):
        texts['Comment'] = comment.decode(errors='replace') if isinstance(comment, bytes) else str(comment)
    dpi = info.get('dpi')
    return Metadata(
        icc=info.get('icc_profile') or None,
        exif=exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=(_number(dpi[0]), _number(dpi[1])) if dpi else None,
        texts=texts,
    )


def _number(value: float) -> float:
    try:
        return float(value)
    except (ValueError, ZeroDivisionError):  # a fraction of 0 / 0
        return math.nan
