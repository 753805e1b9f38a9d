"""Reading any usual picture file."""

import math
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sst.inference.pictures import exif as exif_data
from sst.inference.pictures import png, tiff
from sst.inference.pictures.decoding import from_cmyk, jpeg_2000_of, opened, samples_of
from sst.inference.pictures.kinds import NAMES, READ, bits_stored, unreadable_kind
from sst.inference.pictures.picture import DamagedError, Metadata, Picture, UnreadableError
from sst.utils.errors import UserError
from sst.utils.files import is_text, one_line
from sst.utils.jpeg import lacks_pixels
from sst.utils.pixels import MEGAPIXELS
from sst.utils.png import PNG_HEAD, without_damaged_extras

_FORMATS = tuple(sorted({*READ.values()} - {'TIFF', 'TGA'}))  # by what is in them; TIFF has its own way


def read_picture(path: str | os.PathLike, megapixels: float = MEGAPIXELS) -> Picture:
    """Read a picture of any of the kinds in `kinds.py`, whatever its name ends with.

    8 bits, PNG and TIFF also 16; grey, palette, RGB, CMYK (converted to sRGB), with or without alpha; turned the right
    way up. Of several frames or pages the first.

    Args:
        path: of the file.
        megapixels: million pixels of the largest picture that is read.

    Raises:
        UserError: one line that names the file and what is wrong: no file, no picture, truncated or damaged, too
            large, samples that are no whole numbers of up to 16 bits.
    """
    path = Path(path)
    content = _content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # what matters of them we notice ourselves
            if content.startswith(tiff.HEADS):
                return _picture(*tiff.read(content, megapixels), 'TIFF')
            return _read_by_pillow(content, path, megapixels)
    except UnreadableError as fault:
        raise UserError(f'{path}: cannot be read as a picture; {fault}') from fault
    except MemoryError as fault:
        raise UserError(f'{path}: not enough memory to read it; cut it into parts') from fault
    except UnidentifiedImageError as fault:
        raise UserError(f'{path}: cannot be read as a picture; {_other_kind(content, path)}') from fault
    except Exception as fault:  # damaged bytes make the decoders raise anything
        # What decoders say on purpose; the rest are stumbles that explain nothing.
        what = f' ({one_line(fault)})' if isinstance(fault, DamagedError | OSError | SyntaxError) else ''
        raise UserError(f'{path}: cannot be read as a picture; it is damaged{what}: fetch or copy it again') from fault


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise UserError(f'{path}: a folder, not a picture')
        if not path.exists():
            raise UserError(f'{path}: no such file')
        if not path.is_file():
            raise UserError(f'{path}: a device or pipe, not a picture file')
        content = path.read_bytes()
    except PermissionError as fault:
        raise UserError(f'{path}: no right to read it') from fault
    except OSError as fault:
        raise UserError(f'{path}: cannot be read: {one_line(fault)}') from fault
    if not content:
        raise UserError(f'{path}: cannot be read as a picture; it is empty: fetch or copy it again')
    return content


def _other_kind(content: bytes, path: Path) -> str:
    if kind := unreadable_kind(content, path.suffix.lower()):
        return f'it is {kind}: convert it to PNG, JPEG or TIFF'
    if is_text(content[:4096]):
        return 'it is a text file'
    return f'it is damaged or of another kind than {NAMES}'


def _read_by_pillow(content: bytes, path: Path, megapixels: float) -> Picture:
    is_png = content.startswith(PNG_HEAD)
    content, damaged = without_damaged_extras(content)
    notes = [f'its part {kind!r} is damaged (wrong checksum) and left out' for kind in damaged]
    formats = (*_FORMATS, 'TGA') if READ.get(path.suffix.lower()) == 'TGA' else _FORMATS
    with opened(content, formats, megapixels) as image:
        if is_png:
            png.check_whole(content)
        file_format = 'JPEG' if image.format == 'MPO' else image.format or ''  # MPO: JPEG with a preview behind it
        frames = getattr(image, 'n_frames', 1)
        if file_format != 'JPEG' and frames > 1:
            notes.append(f'only the first of {frames} frames is enlarged')
        bits, samples = png.bits_of(content) if is_png else bits_stored(content, file_format), None
        if is_png and bits == 16:
            samples = png.decode_16_bit(content)
        elif file_format == 'JPEG2000' and bits > 8:
            samples = jpeg_2000_of(content, bits)
        else:
            image.load()
        if file_format == 'JPEG' and lacks_pixels(content, _corners(image)):
            raise DamagedError('its data ends before its last pixels')
        metadata = _metadata(image, notes)
        if is_png:
            metadata = replace(metadata, png_colour=png.colour_chunks(content))
        if image.mode == 'CMYK':
            image, note = from_cmyk(image, metadata.icc)
            metadata = replace(metadata, icc=None)
            notes.append(note)
        if samples is None:
            samples = samples_of(image)
        if bits > 8 * samples.itemsize:
            notes.append(f'its {bits} bits become 8 in reading')
        if is_png and (colour := png.transparent_colour(content)) is not None:
            opaque = (samples != colour).any(axis=2, keepdims=True)
            alpha = opaque.astype(samples.dtype) * np.iinfo(samples.dtype).max
            samples = np.concatenate([samples, alpha], axis=2)
    return _picture(samples, metadata, notes, file_format)


def _corners(image: Image.Image) -> list:
    return [image.getpixel((x, y)) for x in (0, image.width - 1) for y in (0, image.height - 1)]


def _picture(samples: np.ndarray, metadata: Metadata, notes: list[str], file_format: str) -> Picture:
    """A picture of samples as `png.decode_16_bit` gives them, turned as the metadata says."""
    try:
        exif = exif_data.bare(metadata.exif)
    except ValueError:
        exif = None
        notes.append('its EXIF data is damaged and left out')
    xmp = metadata.xmp
    turn = exif_data.orientation(exif, xmp)
    if turn != 1:
        samples = exif_data.turned_upright(samples, turn)
        xmp = exif_data.upright_xmp(xmp) if xmp else None
        exif = exif_data.upright_exif(exif) if exif else None
    dpi = metadata.dpi
    if dpi and not all(math.isfinite(value) and 0 < value < 1e6 for value in dpi):
        dpi = None
    if dpi and turn >= 5:
        dpi = dpi[::-1]
    return Picture(
        samples=samples,
        bits=8 * samples.itemsize,
        format=file_format,
        metadata=replace(metadata, exif=exif, xmp=xmp, dpi=dpi),
        notes=tuple(notes),
    )


def _metadata(image: Image.Image, notes: list[str]) -> Metadata:
    info = image.info
    texts = {str(key): str(text) for key, text in getattr(image, 'text', {}).items()}
    xmp, exif = info.get('xmp'), info.get('exif')
    if png.XMP_KEYWORD in texts:
        xmp = texts.pop(png.XMP_KEYWORD).encode()
    # ImageMagick's way of old; the other such profiles are told by chunks of their own
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
