"""TIFF with 16 bits, which Pillow cuts to 8, and with all tags."""

import io
import logging
import math
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
from sst.inference.pictures.exif import orientation, turned_upright
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


def read(content: bytes) -> tuple[np.ndarray, Metadata, list[str]]:
    """(H, W, C) uint8 or uint16, C = 1 to 4: grey, grey and alpha, RGB, RGBA; what the file says; notes.

    The samples are turned the right way up; the metadata, whose EXIF data is of TIFF's tags, still says how they lay.

    Raises:
        UnreadableError: samples of other kinds; other errors of tifffile and Pillow for damaged files.
    """
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)  # the first one always is
        check_size(page.imagewidth, page.imagelength)
        if page.samplesperpixel > _MOST_SAMPLES or page.imagedepth != 1:
            raise UnreadableError(
                f'it has {page.samplesperpixel * page.imagedepth} channels: convert it to RGB or grey'
            )
        if len(page.dataoffsets) < math.prod(page.chunked) or 0 in page.databytecounts:
            raise DamagedError('pixels are missing')  # they would be filled with black
        notes = [f'only the first of {len(file.pages)} pages is enlarged'] if len(file.pages) > 1 else []
        metadata = _metadata(content, page, notes)
        bits = page.bitspersample
        if page.sampleformat not in (1, 4) or bits not in (1, 2, 4, 8, 16):
            kind = {2: 'signed', 3: 'floating-point'}.get(page.sampleformat, 'whole')
            raise UnreadableError(f'its samples are {bits}-bit {kind} numbers: convert to 8 or 16 bits without sign')
        if bits == 16:
            turn = orientation(metadata.exif, metadata.xmp)
            return turned_upright(_samples_of_16_bits(content, page), turn), metadata, notes
    with opened(content, ('TIFF',)) as image:  # Pillow turns TIFF itself
        image.load()
        if image.mode == 'CMYK':
            image, note = from_cmyk(image, metadata.icc)
            return samples_of(image), replace(metadata, icc=None), [*notes, note]
        return samples_of(image), metadata, notes


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
        exif = _exif(content)
    except Exception:  # foreign bytes make Pillow raise anything
        exif = None
        notes.append('its EXIF data is damaged and left out')
    icc, xmp = tags.valueof(_ICC), tags.valueof(_XMP)
    return Metadata(icc=bytes(icc) if icc else None, exif=exif, xmp=bytes(xmp) if xmp else None, dpi=dpi)


def _exif(content: bytes) -> bytes | None:
    """The tags that tell of the picture, and its orientation, as EXIF data: a TIFF file is a large piece of it."""
    source, target = Image.Exif(), Image.Exif()
    source.load(content)
    for tag in (*_TELLING, _ORIENTATION):
        if tag in source:
            target[tag] = source[tag]
    for tag in (_EXIF_FOLDER, _GPS_FOLDER):
        folder = {key: value for key, value in source.get_ifd(tag).items() if key != _MAKER_NOTE}
        if folder:
            target[tag] = folder
    return target.tobytes()[6:] if len(target) else None


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
