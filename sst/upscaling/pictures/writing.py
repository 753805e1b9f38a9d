"""Writing pictures so that the old file or the whole new one is there.

The rows go into a temporary file of plain samples as they are computed, and from there into the encoder: no encoder
needs the whole picture in memory, except WebP's.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import pyvips

from sst.upscaling.pictures import exif as exif_data
from sst.upscaling.pictures import headers, tiff
from sst.upscaling.pictures.decoding import one_line_of
from sst.upscaling.pictures.image_file import ImageFile
from sst.upscaling.pictures.kinds import WRITTEN
from sst.utils.errors import UserError
from sst.utils.files import replacing, why_unwritable

_LARGEST_SIDE = {'JPEG': 65500, 'WEBP': 16383}
_LARGEST_JPEG_PART = 65_500  # bytes of EXIF or XMP that certainly fit
_ADVICE = 'make room, correct the rights or choose another folder'
Shape = tuple[int, int, int]


def write_image(image: ImageFile, path: str | os.PathLike, quality: int = 95) -> list[str]:
    """Write PNG, JPEG, WebP or TIFF, by the name's ending, with what the image's file said.

    16 bits stay in PNG and TIFF, alpha in all but JPEG, where the image is laid upon white.

    Args:
        image: what to write.
        path: where to; the folder must be there, and have room for the samples without compression.
        quality: of JPEG and WebP, 1 to 100; WebP of 100 is lossless.

    Returns:
        What the format could not hold, a line each.

    Raises:
        UserError: one line that names the file and what is wrong: an ending or quality that is not possible, an image
            that is too large for the format, a folder that is missing or must not be written into, a full disk.
    """
    path = Path(path)
    file_format = format_of(path)
    if not 1 <= quality <= 100:
        raise UserError(f'quality must be from 1 to 100, not {quality}')
    height, width, channels = image.shape
    name = 'WebP' if file_format == 'WEBP' else file_format
    largest = _LARGEST_SIDE.get(file_format, math.inf)
    if max(height, width) > largest:
        raise UserError(
            f'cannot write {path}: {name} holds {largest} pixels a side at most, and the picture has {width}x{height}: '
            'write PNG or TIFF'
        )
    image, notes = _fitting(image, file_format, name)
    shape = (height, width, channels - (file_format == 'JPEG' and image.has_alpha))
    dtype = np.dtype(np.uint16 if image.bits > 8 else np.uint8)
    try:
        with replacing(path) as temporary:
            raw = temporary.with_suffix('.raw')
            try:
                with open(raw, 'wb') as file:
                    for rows in _rounded(image.bands(), shape[2], dtype):
                        file.write(rows.data)
                _encode(raw, temporary, shape, dtype, image, file_format, quality)
            finally:
                raw.unlink(missing_ok=True)
    except OSError as fault:
        raise UserError(f'cannot write {path}: {why_unwritable(fault)}; {_ADVICE}') from fault
    except pyvips.Error as fault:
        raise UserError(f'cannot write {path}: {one_line_of(fault)}; {_ADVICE}') from fault
    return notes


def format_of(path: Path) -> str:
    """PNG, JPEG, WEBP or TIFF by a name's ending. Raises `UserError` for others."""
    if path.suffix.lower() not in WRITTEN:
        ending = path.suffix or 'no ending'
        raise UserError(f'cannot write {path}: {ending} cannot be written; use one of {", ".join(WRITTEN)}')
    return WRITTEN[path.suffix.lower()]


def _fitting(image: ImageFile, file_format: str, name: str) -> tuple[ImageFile, list[str]]:
    """What the format can hold of an image, and notes of what it cannot."""
    notes = []
    metadata = image.metadata
    height, width, _ = image.shape
    if image.bits > 8 and file_format in ('JPEG', 'WEBP'):
        notes.append(f'16 bits become 8: {name} holds no more')
        image = replace(image, bits=8)
    if image.has_alpha and file_format == 'JPEG':
        notes.append(f'transparency is laid upon white: {name} has none')
    if metadata.exif:
        metadata = replace(metadata, exif=exif_data.resized_exif(metadata.exif, width, height))
    if image.grey and file_format == 'WEBP' and metadata.icc and metadata.icc[16:20] == b'GRAY':
        notes.append(f'its colour profile of grey is left out: {name} is always coloured')
        metadata = replace(metadata, icc=None)
    kept = {key: text for key, text in metadata.texts.items() if file_format == 'JPEG' and key == 'Comment'}
    if file_format != 'PNG' and len(kept) < len(metadata.texts):
        lost = ', '.join(key for key in metadata.texts if key not in kept)
        notes.append(f'its texts are left out, which {name} cannot hold: {lost}')
        metadata = replace(metadata, texts=kept)
    if file_format == 'JPEG' and len(metadata.exif or b'') > _LARGEST_JPEG_PART:
        notes.append('its EXIF data is left out: JPEG holds 64 KB at most')
        metadata = replace(metadata, exif=None)
    if file_format == 'JPEG' and len(metadata.xmp or b'') > _LARGEST_JPEG_PART:
        notes.append('its XMP data is left out: JPEG holds 64 KB at most')
        metadata = replace(metadata, xmp=None)
    return replace(image, metadata=metadata), notes


def _rounded(bands: Iterable[np.ndarray], channels: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """(rows, W, channels) of the dtype; transparency that has no channel left is laid upon white."""
    largest = np.float32(np.iinfo(dtype).max)
    for band in bands:
        if channels < band.shape[2]:
            alpha = band[..., -1:]
            band = band[..., :-1] * alpha + (1 - alpha)
        yield np.rint(band.clip(0, 1) * largest).astype(dtype, order='C')


def _encode(
    raw: Path, target: Path, shape: Shape, dtype: np.dtype, image: ImageFile, file_format: str, quality: int
) -> None:
    """Encode a file of samples without a header."""
    height, width, channels = shape
    metadata = image.metadata
    if file_format == 'TIFF':
        with open(raw, 'rb') as samples:
            tiff.write(target, partial(_next_rows, samples, dtype, width, channels), shape, dtype, metadata)
        return
    sample = 'ushort' if dtype == np.uint16 else 'uchar'
    plain = pyvips.Image.rawload(str(raw), width, height, channels * dtype.itemsize, access='sequential')
    names = {1: 'b-w', 3: 'srgb'} if sample == 'uchar' else {1: 'grey16', 3: 'rgb16'}
    plain = plain.copy(format=sample, bands=channels, interpretation=names[1 if channels < 3 else 3])
    with open(target, 'wb') as file:
        if file_format == 'PNG':
            sink = _Sink(file, b'IDAT', lambda start: headers.png_head(start, metadata) + start[-4:])
            _save(plain, 'png', sink, compression=6, filter='all', keep='none')
        elif file_format == 'JPEG':
            sink = _Sink(file, b'\xff\xdb', lambda _: headers.jpeg_head(metadata))
            _save(plain, 'jpeg', sink, Q=quality, subsample_mode='off', keep='none')
        else:
            for key, value in (('icc-profile', metadata.icc), ('exif', metadata.exif), ('xmp', metadata.xmp)):
                if value:
                    plain.set_type(pyvips.GValue.blob_type, f'{key}-data', value)
            lossless = quality == 100  # then Q is the effort; exact: colours under transparency stay
            _save(plain, 'webp', _Sink(file), Q=75 if lossless else quality, lossless=lossless, exact=True)


def _next_rows(samples: IO[bytes], dtype: np.dtype, width: int, channels: int, count: int) -> np.ndarray:
    """Up to `count` more rows (rows, W, C) of a file of samples."""
    return np.fromfile(samples, dtype, count * width * channels).reshape(-1, width, channels)


class _Sink:
    """Takes what libvips writes.

    Args:
        file: where it goes.
        marker: what libvips writes in front of it goes through `head`.
        head: gives the bytes that take the place of those in front of the marker.
    """

    def __init__(self, file: IO[bytes], marker: bytes = b'', head: Callable[[bytes], bytes] = bytes) -> None:
        self.file, self.marker, self.head = file, marker, head
        self.start = b''
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        content = bytes(data)
        if self.marker:
            self.start += content
            place = self.start.find(self.marker)
            if place < 0:
                return len(data)
            self.marker, content = b'', self.head(self.start[:place]) + self.start[place:]
        try:
            self.file.write(content)
        except OSError as fault:
            self.fault = fault
            return -1
        return len(data)


def _save(image: pyvips.Image, kind: str, sink: _Sink, **options: object) -> None:
    """Have libvips encode an image, in a thread of its own, so that Ctrl-C ends it."""
    target = pyvips.TargetCustom()
    target.on_write(sink.write)
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(getattr(image, f'{kind}save_target'), target, **options)
        try:
            saving.result()
        except pyvips.Error as fault:
            raise sink.fault or fault from None
        except BaseException:
            image.set_kill(True)
            raise
    if sink.fault:
        raise sink.fault
