"""Writing pictures so that the old file or the whole new one is there."""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sst.inference.pictures import exif as exif_data
from sst.inference.pictures import png, tiff
from sst.inference.pictures.picture import Metadata, Picture
from sst.utils.errors import UserError
from sst.utils.files import write_whole

FORMATS = {
    '.png': 'PNG',
    '.jpg': 'JPEG',
    '.jpeg': 'JPEG',
    '.webp': 'WEBP',
    '.tif': 'TIFF',
    '.tiff': 'TIFF',
}
_LARGEST_SIDE = {'JPEG': 65500, 'WEBP': 16383}
_NAMES = {'WEBP': 'WebP'}
_LARGEST_JPEG_PART = 65_500  # bytes of EXIF or XMP that certainly fit


def write_picture(picture: Picture, path: str | os.PathLike, quality: int = 95) -> list[str]:
    """Write PNG, JPEG, WebP or TIFF, by the name's ending, with what the picture's file said.

    16 bits stay in PNG and TIFF, alpha in all but JPEG, where the picture is laid upon white.

    Args:
        picture: what to write.
        path: where to; the folder must be there.
        quality: of JPEG and WebP, 1 to 100; WebP of 100 is lossless.

    Returns:
        What the format could not hold, a line each.

    Raises:
        UserError: one line that names the file and what is wrong: an ending or quality that is none, a picture that is
            too large for the format, a folder that is missing or must not be written into, a full disk.
    """
    path = Path(path)
    file_format = format_of(path)
    if not 1 <= quality <= 100:
        raise UserError(f'quality must be from 1 to 100, not {quality}')
    height, width, _ = picture.shape
    name = _NAMES.get(file_format, file_format)
    if max(height, width) > _LARGEST_SIDE.get(file_format, max(height, width)):
        raise UserError(
            f'cannot write {path}: {name} holds {_LARGEST_SIDE[file_format]} pixels a side at most, and the picture '
            f'has {width}x{height}: write PNG or TIFF'
        )
    picture, notes = _fitting(picture, file_format, name)
    computed = _Computed(picture)
    channels = picture.shape[2] - (file_format == 'JPEG' and picture.has_alpha)
    dtype = np.dtype(np.uint16 if picture.bits > 8 else np.uint8)
    rows = _samples(computed, channels, dtype)
    parts = _encoded(rows, (height, width, channels), dtype, picture.metadata, file_format, quality)
    try:
        write_whole(path, lambda file: file.writelines(parts), 'make room, correct the rights or choose another folder')
    except UserError:
        if computed.fault:  # it is none of the file
            raise computed.fault from None
        raise
    except ValueError as fault:
        raise UserError(f'cannot write {path}: {fault}') from fault
    return notes


class _Computed:
    """A picture's bands, and what went wrong with computing them."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.fault: Exception | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            yield from self.picture.bands()
        except Exception as fault:
            self.fault = fault
            raise


def format_of(path: Path) -> str:
    """PNG, JPEG, WEBP or TIFF by a name's ending. Raises `UserError` for others."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        ending = f'.{path.suffix[1:]}' if path.suffix else 'no ending'
        raise UserError(
            f'cannot write {path}: {ending} is none of the endings that can be written: {", ".join(FORMATS)}'
        ) from None


def _fitting(picture: Picture, file_format: str, name: str) -> tuple[Picture, list[str]]:
    """What the format can hold of a picture, and notes of what it cannot."""
    notes = []
    metadata = picture.metadata
    if picture.bits > 8 and file_format in ('JPEG', 'WEBP'):
        notes.append(f'16 bits become 8: {name} holds no more')
        picture = replace(picture, bits=8)
    if picture.has_alpha and file_format == 'JPEG':
        notes.append(f'transparency is laid upon white: {name} has none')
    if metadata.exif:
        height, width, _ = picture.shape
        metadata = replace(metadata, exif=exif_data.resized_exif(metadata.exif, width, height))
    if picture.grey and file_format == 'WEBP' and metadata.icc and metadata.icc[16:20] == b'GRAY':
        notes.append(f'its colour profile of grey is left out: {name} is always coloured')
        metadata = replace(metadata, icc=None)
    texts = {key: text for key, text in metadata.texts.items() if file_format == 'JPEG' and key == 'Comment'}
    if file_format != 'PNG' and len(texts) < len(metadata.texts):
        lost = ', '.join(key for key in metadata.texts if key not in texts)
        notes.append(f'its texts are left out, which {name} cannot hold: {lost}')
        metadata = replace(metadata, texts=texts)
    if file_format == 'JPEG':
        if len(metadata.exif or b'') > _LARGEST_JPEG_PART:
            notes.append(f'its EXIF data is left out: {name} holds 64 KB at most')
            metadata = replace(metadata, exif=None)
        if len(metadata.xmp or b'') > _LARGEST_JPEG_PART:
            notes.append(f'its XMP data is left out: {name} holds 64 KB at most')
            metadata = replace(metadata, xmp=None)
    return replace(picture, metadata=metadata), notes


def _samples(bands: Iterable[np.ndarray], channels: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """(rows, W, channels) of the dtype; transparency that has no channel left is laid upon white."""
    largest = np.float32(np.iinfo(dtype).max)
    for band in bands:
        if channels < band.shape[2]:
            alpha = band[..., -1:]
            band = band[..., :-1] * alpha + (1 - alpha)
        yield np.rint(band.clip(0, 1) * largest).astype(dtype)


def _encoded(
    rows: Iterator[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata,
    file_format: str,
    quality: int,
) -> Iterator[bytes | memoryview]:
    """The parts of a file; PNG and TIFF as the rows come, JPEG and WebP when all are there."""
    if file_format == 'PNG':
        yield from png.encode(rows, shape, dtype, metadata)
    elif file_format == 'TIFF':
        yield from tiff.encode(rows, shape, dtype, metadata)
    else:
        samples, top = np.empty(shape, dtype), 0
        for band in rows:
            samples[top : top + len(band)] = band
            top += len(band)
        yield _encoded_by_pillow(samples, metadata, file_format, quality)


def _encoded_by_pillow(samples: np.ndarray, metadata: Metadata, file_format: str, quality: int) -> memoryview:
    channels = samples.shape[2]
    image = Image.fromarray(samples.squeeze(2) if channels == 1 else samples)
    options: dict[str, object] = {'quality': quality}
    if file_format == 'WEBP':
        options |= {'lossless': quality == 100, 'exact': True}  # exact: colours under transparency stay
        options['quality'] = 75 if quality == 100 else quality  # of lossless files: the effort
        if channels < 3:
            image = image.convert('RGB' if channels == 1 else 'RGBA')
    else:
        options['subsampling'] = 0
    if metadata.dpi and file_format == 'JPEG':
        options['dpi'] = tuple(round(dpi) for dpi in metadata.dpi)
    if comment := metadata.texts.get('Comment'):
        options['comment'] = comment.encode(errors='replace')
    for key, value in (('icc_profile', metadata.icc), ('exif', metadata.exif), ('xmp', metadata.xmp)):
        if value:
            options[key] = b'Exif\0\0' + value if key == 'exif' else value
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getbuffer()
