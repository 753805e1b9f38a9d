"""Writing image files so that either the old file or the whole new one is there.

The rows go into a temporary file of plain samples as they are computed, and from there into the encoder. So no encoder
needs the whole image in memory, except WebP's.
"""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyvips

from sst.inference.enlarging import bands_of
from sst.upscaling.pictures import headers, tiff
from sst.upscaling.pictures.decoding import last_line
from sst.upscaling.pictures.exif import resized_exif
from sst.upscaling.pictures.image_file import ImageFile, Metadata
from sst.upscaling.pictures.kinds import WRITTEN
from sst.utils.errors import UserError
from sst.utils.files import replacing, why_unwritable

_LARGEST_SIDE = {'JPEG': 65500, 'WEBP': 16383}
_LARGEST_JPEG_PART = 65_500  # bytes of EXIF or XMP that certainly fit
_COMMENT = ('JPEG', 'Comment')  # the only format besides PNG that holds a text, and its keyword


def write_image(image: ImageFile, path: str | os.PathLike, quality: int = 95) -> list[str]:
    """Write PNG, JPEG, WebP or TIFF, by the name's ending, with what the image's file said.

    PNG and TIFF keep 16 bits. All except JPEG keep transparency, which is laid on white there.

    Args:
        image: what to write.
        path: of the result. The folder must exist and have room for the samples without compression.
        quality: of JPEG and WebP, 1 to 100; WebP of 100 is lossless.

    Returns:
        Notes for the user of what the format cannot hold, a line each.

    Raises:
        UserError: one line that names the file. The ending or quality is impossible, the image is too large for the
            format, the folder is missing or may not be written, or the disk is full.
    """
    path = Path(path)
    file_format = WRITTEN.get(path.suffix.lower())
    if file_format is None:
        ending = path.suffix or 'no ending'
        raise UserError(f'cannot write {path}: {ending} cannot be written; use one of {", ".join(WRITTEN)}')
    if not 1 <= quality <= 100:
        raise UserError(f'quality {quality}: must be from 1 to 100')
    height, width, channels = image.shape
    largest = _LARGEST_SIDE.get(file_format, math.inf)
    if max(height, width) > largest:
        raise UserError(
            f'cannot write {path}: {width}x{height} is too large for {file_format}, which holds {largest} pixels a '
            'side; use PNG or TIFF'
        )
    image, notes = _fitted(image, file_format)
    shape = (height, width, channels - (file_format == 'JPEG' and image.has_alpha))
    dtype = np.dtype(np.uint16 if image.bits > 8 else np.uint8)
    try:
        with replacing(path) as temporary:
            raw = temporary.with_suffix('.raw')
            try:
                with open(raw, 'wb') as file:
                    for rows in _rounded(image, shape[2], dtype):
                        file.write(rows.data)
                if file_format == 'TIFF':
                    tiff.write(temporary, np.memmap(raw, dtype, 'r', shape=shape), image.metadata)
                else:
                    _encode(_opened(raw, shape, dtype), temporary, image.metadata, file_format, quality)
            finally:
                raw.unlink(missing_ok=True)
    except (OSError, pyvips.Error) as fault:
        why = why_unwritable(fault) if isinstance(fault, OSError) else last_line(fault)
        raise UserError(
            f'cannot write {path}: {why}; make room, correct the permissions or use another folder'
        ) from fault
    return notes


def _fitted(image: ImageFile, file_format: str) -> tuple[ImageFile, list[str]]:
    """What the format can hold of an image, and notes of what it cannot."""
    notes: list[str] = []
    changes: dict[str, Any] = {}
    metadata = image.metadata
    height, width, _ = image.shape
    if image.bits > 8 and file_format in ('JPEG', 'WEBP'):
        notes.append(f'16 bits become 8, because {file_format} holds no more')
        image = replace(image, bits=8)
    if image.has_alpha and file_format == 'JPEG':
        notes.append('transparency is laid on white, because JPEG has none')
    if metadata.exif:
        metadata = replace(metadata, exif=resized_exif(metadata.exif, width, height))
    if image.grey and file_format == 'WEBP' and metadata.icc and metadata.icc[16:20] == b'GRAY':
        notes.append('its colour profile of grey is left out, because WEBP is always coloured')
        changes['icc'] = None
    if file_format != 'PNG':
        changes['texts'] = {key: text for key, text in metadata.texts.items() if (file_format, key) == _COMMENT}
        if lost := ', '.join(key for key in metadata.texts if key not in changes['texts']):
            notes.append(f'its texts are left out, because {file_format} cannot hold them: {lost}')
    for name in ('exif', 'xmp'):
        if file_format == 'JPEG' and len(getattr(metadata, name) or b'') > _LARGEST_JPEG_PART:
            notes.append(f'its {name.upper()} data is left out, because JPEG holds 64 KB at most')
            changes[name] = None
    return replace(image, metadata=replace(metadata, **changes)), notes


def _rounded(image: ImageFile, channels: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    """(rows, W, channels) of the dtype. If there is no channel for transparency, it is laid on white."""
    largest = np.float32(np.iinfo(dtype).max)
    for band in bands_of(image.samples):
        if channels < band.shape[2]:
            alpha = band[..., -1:]
            band = band[..., :-1] * alpha + (1 - alpha)
        yield np.rint(band.clip(0, 1) * largest).astype(dtype, order='C')


def _opened(raw: Path, shape: tuple[int, int, int], dtype: np.dtype) -> pyvips.Image:
    """A file of samples without a header as libvips sees it."""
    height, width, channels = shape
    deep = dtype == np.uint16
    spaces = ('grey16', 'rgb16') if deep else ('b-w', 'srgb')
    image = pyvips.Image.rawload(str(raw), width, height, channels * dtype.itemsize, access='sequential')
    return image.copy(format='ushort' if deep else 'uchar', bands=channels, interpretation=spaces[channels > 2])


def _encode(plain: pyvips.Image, target: Path, metadata: Metadata, file_format: str, quality: int) -> None:
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
            lossless = quality == 100  # then Q is the effort; `exact` keeps the colours of transparent pixels
            _save(plain, 'webp', _Sink(file), Q=75 if lossless else quality, lossless=lossless, exact=True)


class _Sink:
    """Takes what libvips writes.

    Args:
        file: where it goes.
        marker: what libvips writes before it goes through `head`.
        head: gives the bytes that replace those before the marker.
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
    """Encode an image by libvips, in a thread of its own, so that Ctrl-C ends it."""
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
