"""TIFF with 16 bits, which Pillow cuts to 8, and with all tags."""

import io
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sst.inference.pictures.decoding import from_cmyk, opened, samples_of
from sst.inference.pictures.picture import DamagedError, Metadata, UnreadableError, check_size

HEADS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# The tags of a TIFF file, and of EXIF data, that tell of the picture and not of how its pixels are stored:
# description, maker, model, software, date, artist, host, rating, copyright and Windows' texts.
_TELLING = (270, 271, 272, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
_EXIF_FOLDER, _GPS_FOLDER, _MAKER_NOTE = 34665, 34853, 37500
_ORIENTATION, _XMP, _UNIT, _ICC = 274, 700, 296, 34675
_PER_INCH = {2: 1.0, 3: 2.54}  # by unit
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ASSOCIATED, _UNASSOCIATED = 1, 2
_LZW = 5
_MOST_SAMPLES = 8  # of a pixel: colours, alpha and what an editor adds
_STRIP = 1 << 20  # bytes of a strip, about
_LARGEST = 4_000_000_000

for _library in ('tifffile', 'PIL.TiffImagePlugin'):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # what they cannot read is told by our errors


def read(content: bytes, megapixels: float) -> tuple[np.ndarray, Metadata, list[str]]:
    """(H, W, C) uint8 or uint16, C = 1 to 4: grey, grey and alpha, RGB, RGBA; what the file says; notes.

    The samples lie as they are stored; the metadata, whose EXIF data is of TIFF's tags, says how to turn them.

    Args:
        content: of the file. Of several pages the first is read that is no reduced copy of another one.
        megapixels: the limit.

    Raises:
        UnreadableError: samples of other kinds; other errors of tifffile and Pillow for damaged files.
    """
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page, notes = _first_whole_page(file)
        check_size(page.imagewidth, page.imagelength, megapixels)
        if page.samplesperpixel > _MOST_SAMPLES or page.imagedepth != 1:
            raise UnreadableError(
                f'it has {page.samplesperpixel * page.imagedepth} channels: convert it to RGB or grey'
            )
        if len(page.dataoffsets) < math.prod(page.chunked) or 0 in page.databytecounts:
            raise DamagedError('pixels are missing')  # they would be filled with black
        metadata = _metadata(content, page, notes)
        bits = page.bitspersample
        if page.sampleformat not in (1, 4) or bits not in (1, 2, 4, 8, 16):
            kind = {2: 'signed', 3: 'floating-point'}.get(page.sampleformat, 'whole')
            raise UnreadableError(f'its samples are {bits}-bit {kind} numbers: convert to 8 or 16 bits without sign')
        content = _as_stored(content, page)
        if bits == 16:
            return _samples_of_16_bits(content, page), metadata, notes
    with opened(content, ('TIFF',), megapixels) as image:
        image.getexif()[_ORIENTATION] = 1  # Pillow would turn it by its XMP data
        image.load()
        if image.mode == 'CMYK':
            image, note = from_cmyk(image, metadata.icc)
            return samples_of(image), replace(metadata, icc=None), [*notes, note]
        return samples_of(image), metadata, notes


def _first_whole_page(file: tifffile.TiffFile) -> tuple[tifffile.TiffPage, list[str]]:
    """The first page that is no reduced copy of another one, and what to say of the others.

    Cameras put a thumbnail first, and the picture behind it or below it.
    """
    first, count = file.pages.first, len(file.pages)
    if first.is_reduced:
        others = [*file.pages[1:], *(first.pages or ())]
        for number, page in enumerate(others, start=2):
            if isinstance(page, tifffile.TiffPage) and not page.is_reduced:
                return page, [f'only page {number} of {1 + len(others)} is enlarged: a small copy stands in front']
    return first, [f'only the first of {count} pages is enlarged'] if count > 1 else []


def _as_stored(content: bytes, page: tifffile.TiffPage) -> bytes:
    """The file with this page as its first, not to be turned: decoders know the first only, and turn it unasked."""
    place, code = (8, 'Q') if page.parent.is_bigtiff else (4, 'I')
    start = struct.pack(page.parent.byteorder + code, page.offset)
    turned = page.tags.valueof(_ORIENTATION, 1) != 1
    if content.startswith(start, place) and not turned:
        return content
    changed = io.BytesIO(content)
    changed.getbuffer()[place : place + len(start)] = start
    if turned:
        with tifffile.TiffFile(changed) as file:
            file.pages.first.tags[_ORIENTATION].overwrite(1)
    return changed.getvalue()


def _samples_of_16_bits(content: bytes, page: tifffile.TiffPage) -> np.ndarray:
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(int(page.photometric))
    if colours is None:
        name = getattr(page.photometric, 'name', page.photometric)
        raise UnreadableError(f'its 16-bit samples are {name}: convert it to RGB or grey')
    extra = int(page.extrasamples[0]) if page.extrasamples else 0
    # libtiff, in OpenCV, multiplies no colours by alpha and divides none at 16 bits.
    array = _decoded(content, page)
    alpha = array[..., colours : colours + 1] if extra in (_ASSOCIATED, _UNASSOCIATED) else array[..., :0]
    array = array[..., :colours]
    if page.photometric == _WHITE_IS_ZERO:
        array = 65535 - array
    if extra == _ASSOCIATED:
        array = np.minimum(np.rint(array * (65535 / np.maximum(alpha, 1.0))), 65535).astype(np.uint16)
    return np.concatenate([array, alpha], axis=2)


def _decoded(content: bytes, page: tifffile.TiffPage) -> np.ndarray:
    """(H, W, samples) uint16."""
    try:
        array = page.asarray()
    except ValueError as fault:
        if 'imagecodecs' not in str(fault):
            raise
        array = _decoded_by_opencv(content, page)
    array = array.reshape(-1, page.imagelength, page.imagewidth) if page.planarconfig == 2 else array
    array = np.moveaxis(array, 0, -1) if page.planarconfig == 2 else array
    return array.reshape(page.imagelength, page.imagewidth, page.samplesperpixel).astype(np.uint16, copy=False)


def _decoded_by_opencv(content: bytes, page: tifffile.TiffPage) -> np.ndarray:
    samples = page.samplesperpixel
    array = None
    if page.compression == _LZW and samples in (1, 3, 4) and (page.planarconfig == 1 or samples == 1):
        array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        name = getattr(page.compression, 'name', page.compression)
        raise UnreadableError(f'it is 16-bit, compressed by {name}, for which `pip install imagecodecs` is needed')
    return array if samples == 1 else array[..., [2, 1, 0, 3][:samples]]


def _metadata(content: bytes, page: tifffile.TiffPage, notes: list[str]) -> Metadata:
    tags = page.tags
    dpi = None
    if 'XResolution' in tags and 'YResolution' in tags:
        per_inch = _PER_INCH.get(int(tags.valueof(_UNIT, 2)))
        (x, xs), (y, ys) = tags['XResolution'].value, tags['YResolution'].value
        if per_inch and x and xs and y and ys:
            dpi = (per_inch * x / xs, per_inch * y / ys)
    try:
        exif = _exif(content, page)
    except Exception:  # foreign bytes make Pillow raise anything
        exif = _as_bytes(_turned(page))
        notes.append('its EXIF data is damaged and left out')
    icc, xmp = tags.valueof(_ICC), tags.valueof(_XMP)
    return Metadata(icc=bytes(icc) if icc else None, exif=exif, xmp=bytes(xmp) if xmp else None, dpi=dpi)


def _turned(page: tifffile.TiffPage) -> Image.Exif:
    """EXIF data that says how the page is to be turned, if the page does."""
    exif, value = Image.Exif(), page.tags.valueof(_ORIENTATION)
    if value in range(1, 9):
        exif[_ORIENTATION] = int(value)
    return exif


def _exif(content: bytes, page: tifffile.TiffPage) -> bytes | None:
    """The tags that tell of the picture, and its orientation, as EXIF data: a TIFF file is a large piece of it."""
    source, target = Image.Exif(), _turned(page)
    source.bigtiff, source.endian = page.parent.is_bigtiff, page.parent.byteorder
    source.load_from_fp(io.BytesIO(content), page.offset)
    for tag in _TELLING:
        if tag in source:
            target[tag] = source[tag]
    for tag in (_EXIF_FOLDER, _GPS_FOLDER):
        folder = {key: value for key, value in source.get_ifd(tag).items() if key != _MAKER_NOTE}
        if folder:
            target[tag] = folder
    return _as_bytes(target)


def _as_bytes(exif: Image.Exif) -> bytes | None:
    return exif.tobytes()[6:] if len(exif) else None


def encode(
    rows: Iterator[np.ndarray], shape: tuple[int, int, int], dtype: np.dtype, metadata: Metadata
) -> Iterator[bytes]:
    """The parts of a TIFF file; arguments as of `png.encode`.

    Deflate with differences, little-endian. The strips are compressed as the rows come, and held: the folder, which
    says where they are, comes first.

    Raises:
        ValueError: more than the 4 GB that TIFF holds.
    """
    height, width, channels = shape
    per_strip = max(1, _STRIP // (width * channels * dtype.itemsize))
    strips = [_compressed(strip) for strip in _of_equal_height(rows, per_strip)]
    lengths = [len(strip) for strip in strips]
    if sum(lengths) > _LARGEST:
        raise ValueError('TIFF holds 4 GB at most: write PNG')
    folder = ImageFileDirectory_v2()
    tags: dict[int, Any] = {
        256: width,
        257: height,
        258: (8 * dtype.itemsize,) * channels,
        259: 8,  # Deflate
        262: _RGB if channels > 2 else _BLACK_IS_ZERO,
        273: tuple(np.cumsum([0, *lengths[:-1]]).tolist()),  # counted from the end of the folder, as Pillow wants it
        277: channels,
        278: per_strip,
        279: tuple(lengths),
        317: 2,  # differences to the left neighbour
    }
    if channels in (2, 4):
        tags[338] = _UNASSOCIATED
    if metadata.dpi:
        tags |= {282: metadata.dpi[0], 283: metadata.dpi[1], _UNIT: 2}
    tags |= {_ICC: metadata.icc} if metadata.icc else {}
    tags |= {_XMP: metadata.xmp} if metadata.xmp else {}
    for tag, value in (tags | _told(metadata.exif)).items():
        folder[tag] = value
    buffer = io.BytesIO()
    folder.save(buffer)
    yield buffer.getvalue()
    yield from strips


def _of_equal_height(bands: Iterator[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """The same rows in bands of that height, the last one of what is left."""
    held: list[np.ndarray] = []
    for band in bands:
        held.append(band)
        if sum(map(len, held)) >= height:
            joined = np.concatenate(held)
            whole = len(joined) // height * height
            yield from np.split(joined[:whole], whole // height)
            held = [joined[whole:]]
    rest = np.concatenate(held)
    if len(rest):
        yield rest


def _compressed(rows: np.ndarray) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder('<')).data)


def _told(exif: bytes | None) -> dict[int, Any]:
    if not exif:
        return {}
    source = Image.Exif()
    source.load(exif)
    told = {tag: source[tag] for tag in _TELLING if tag in source}
    for tag in (_EXIF_FOLDER, _GPS_FOLDER):
        if folder := {key: value for key, value in source.get_ifd(tag).items() if key != _MAKER_NOTE}:
            told[tag] = folder
    return told
