"""What of TIFF libvips leaves out: which page is the picture, and the tags that tell of it."""

import io
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sst.upscaling.pictures.decoding import decoded
from sst.upscaling.pictures.image_file import DamagedError, Metadata, UnreadableError
from sst.utils.pixels import too_large

HEADS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# The tags of a TIFF file, and of EXIF data, that tell of the picture and not of how its pixels are stored:
# description, maker, model, software, date, artist, host, rating, copyright and Windows' texts.
_TELLING = (270, 271, 272, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
_FOLDERS = (34665, 34853)  # EXIF and GPS
_ORIENTATION, _XMP, _UNIT, _ICC, _MAKER_NOTE = 274, 700, 296, 34675, 37500
_PER_INCH = {2: 1.0, 3: 2.54}  # by unit
_ALPHA = (1, 2)  # of ExtraSamples: colours multiplied by it, or not
_MOST_SAMPLES = 8  # of a pixel: colours, alpha and what an editor adds
_STRIP = 1 << 20  # bytes of a strip, about
_LARGEST_CLASSIC = 3_900_000_000  # bytes of pixels; beyond is BigTIFF

for _library in ('tifffile', 'PIL.TiffImagePlugin'):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # our errors say what they cannot read


def read(content: bytes, megapixels: float) -> tuple[np.ndarray, Metadata, list[str], bool]:
    """Samples, what the file says, notes, and whether the samples are inks.

    The samples lie as they are stored; the metadata, whose EXIF data is made of TIFF's tags, says how to turn them.

    Args:
        content: of the file. Of several pages the first is read that is not a reduced copy of another one.
        megapixels: the limit.

    Raises:
        UnreadableError: samples of other kinds, or too many pixels.
        DamagedError: pixels are missing. Damaged files make tifffile raise other errors as well.
    """
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page, place, notes = _first_whole_page(file)
        if why := too_large(page.imagewidth, page.imagelength, megapixels):
            raise UnreadableError(why)
        if page.samplesperpixel > _MOST_SAMPLES or page.imagedepth != 1:
            raise UnreadableError(
                f'it has {page.samplesperpixel * page.imagedepth} channels: convert it to RGB or grey'
            )
        if page.sampleformat not in (1, 4) or page.bitspersample not in (1, 2, 4, 8, 16):
            kind = {2: 'signed', 3: 'floating-point'}.get(page.sampleformat, 'whole')
            raise UnreadableError(
                f'its samples are {page.bitspersample}-bit {kind} numbers: convert to 8 or 16 bits without sign'
            )
        if len(page.dataoffsets) < np.prod(page.chunked) or 0 in page.databytecounts:
            raise DamagedError('pixels are missing')  # libtiff fills them with black
        metadata = _metadata(content, page, notes)
        samples = decoded(content, 'TIFF', **place)
        inks = page.photometric == 5
        if not inks:
            colours = 1 if samples.shape[2] < 3 else 3
            has_alpha = bool(page.extrasamples) and page.extrasamples[0] in _ALPHA
            samples = samples[..., : colours + has_alpha]
        return samples, metadata, notes, inks


def _first_whole_page(file: tifffile.TiffFile) -> tuple[tifffile.TiffPage, dict[str, int], list[str]]:
    """The first page that is not a reduced copy of another one, where libvips finds it, and what to say of the others.

    Cameras put a thumbnail first, and the picture behind it or below it.
    """
    first, count = file.pages.first, len(file.pages)
    if first.is_reduced:
        others = [(page, {'page': index}) for index, page in enumerate(file.pages) if index]
        others += [(page, {'subifd': index}) for index, page in enumerate(first.pages or ())]
        for number, (page, place) in enumerate(others, start=2):
            if isinstance(page, tifffile.TiffPage) and not page.is_reduced:
                note = f'only page {number} of {1 + len(others)} is enlarged: a small copy stands in front'
                return page, place, [note]
    return first, {}, [f'only the first of {count} pages is enlarged'] if count > 1 else []


def _metadata(content: bytes, page: tifffile.TiffPage, notes: list[str]) -> Metadata:
    tags = page.tags
    dpi = None
    if 'XResolution' in tags and 'YResolution' in tags:
        per_inch = _PER_INCH.get(int(tags.valueof(_UNIT, 2)))
        (x, xs), (y, ys) = tags['XResolution'].value, tags['YResolution'].value
        if per_inch and x and xs and y and ys:
            dpi = (per_inch * x / xs, per_inch * y / ys)
    exif = Image.Exif()
    try:
        exif.update(_exif(content, page))
    except Exception:  # foreign bytes make Pillow raise anything
        notes.append('its EXIF data is damaged and left out')
    if (turn := tags.valueof(_ORIENTATION)) in range(1, 9):
        exif[_ORIENTATION] = int(turn)
    icc, xmp = tags.valueof(_ICC), tags.valueof(_XMP)
    return Metadata(
        icc=bytes(icc) if icc else None,
        exif=exif.tobytes()[6:] if len(exif) else None,
        xmp=bytes(xmp) if xmp else None,
        dpi=dpi,
    )


def _exif(content: bytes, page: tifffile.TiffPage) -> dict[int, Any]:
    source = Image.Exif()
    source.bigtiff, source.endian = page.parent.is_bigtiff, page.parent.byteorder
    source.load_from_fp(io.BytesIO(content), page.offset)
    return _telling(source)


def _telling(exif: Image.Exif) -> dict[int, Any]:
    """The tags that tell of the picture; a folder's value is a dictionary."""
    found: dict[int, Any] = {tag: exif[tag] for tag in _TELLING if tag in exif}
    for tag in _FOLDERS:
        if folder := {key: value for key, value in exif.get_ifd(tag).items() if key != _MAKER_NOTE}:
            found[tag] = folder
    return found


def write(
    path: Path,
    rows: Callable[[int], np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    metadata: Metadata,
) -> None:
    """Write a TIFF, compressed by Deflate with differences; a BigTIFF if it may have more than 4 GB.

    Args:
        path: of the file.
        rows: gives that many of the next rows, (rows, W, C), fewer at the end.
        shape: (H, W, C) of the whole.
        dtype: of the samples.
        metadata: what else the file says.
    """
    height, width, channels = shape
    per_strip = max(1, _STRIP // (width * channels * dtype.itemsize))
    strips = (_compressed(rows(per_strip)) for _ in range(0, height, per_strip))
    exif = Image.Exif()
    exif.load(metadata.exif or b'')
    told = _telling(exif) | ({_XMP: metadata.xmp} if metadata.xmp else {})
    big = height * width * channels * dtype.itemsize > _LARGEST_CLASSIC
    folders = {tag: told.pop(tag) for tag in _FOLDERS if tag in told}
    stand_ins = dict.fromkeys(map(_stand_in, folders), 0)
    extra = [_extra_tag(tag, value) for tag, value in (told | stand_ins).items()]
    with tifffile.TiffWriter(path, bigtiff=big) as file:
        file.write(
            strips,
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=dtype,
            photometric='rgb' if channels > 2 else 'minisblack',
            planarconfig='contig' if channels > 1 else None,
            extrasamples=['unassalpha'] if channels in (2, 4) else None,
            rowsperstrip=per_strip,
            compression='zlib',
            predictor=True,
            resolution=metadata.dpi,
            resolutionunit='inch' if metadata.dpi else None,
            iccprofile=metadata.icc,
            extratags=extra,
            metadata=None,
            software=False,
        )
    for tag, folder in folders.items():
        _append_folder(path, tag, folder)


def _compressed(rows: np.ndarray) -> bytes:
    """A strip of rows as differences to the pixels on the left, by Deflate."""
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder('<')).data)


def _extra_tag(tag: int, value: Any) -> tuple[int, str, int, Any, bool]:
    """A tag as tifffile takes it."""
    if isinstance(value, str):
        return tag, 's', 0, value.encode(), True
    if isinstance(value, bytes):
        return tag, 'B', len(value), value, True
    return tag, 'I' if tag in map(_stand_in, _FOLDERS) else 'H', 1, value, True


def _stand_in(tag: int) -> int:
    """A number that nobody uses, at the place of a folder's tag, which tifffile does not write."""
    return tag + 1


def _append_folder(path: Path, tag: int, folder: dict[int, Any]) -> None:
    """Put a folder of EXIF tags behind everything else in a TIFF, to which `tag` then leads."""
    with tifffile.TiffFile(path, mode='r+') as file:
        handle = file.filehandle
        start = handle.seek(0, 2) + handle.size % 2
        header = b'II+\0\x08\0\0\0' + bytes(8) if file.is_bigtiff else b'II*\0' + bytes(4)
        entries = ImageFileDirectory_v2(header, group=tag)
        entries.update(folder)
        handle.seek(start)
        handle.write(entries.tobytes(start))
        entry = file.pages.first.tags[_stand_in(tag)]
        entry.overwrite(start)
        handle.seek(entry.offset)
        handle.write(struct.pack('<H', tag))
