"""The parts of TIFF that libvips does not cover: which page is the image, and the tags that describe it."""

import io
import logging
import struct
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
# The tags of a TIFF file, and of EXIF data, that describe the image and not how its pixels are stored:
# description, maker, model, software, date, artist, host, rating, copyright and Windows' texts.
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
_FOLDERS = (34665, 34853)  # EXIF and GPS
_ORIENTATION, _XMP, _UNIT, _ICC, _MAKER_NOTE = 274, 700, 296, 34675, 37500
_PER_INCH = {2: 1.0, 3: 2.54}  # by unit
_ALPHA = (1, 2)  # of ExtraSamples: colours are multiplied by alpha, or not
_MOST_SAMPLES = 8  # of a pixel: colours, alpha and what an editor adds
_STRIP = 1 << 20  # bytes of a strip, about
_LARGEST_CLASSIC = 3_900_000_000  # bytes of pixels; more become a BigTIFF

for _library in ('tifffile', 'PIL.TiffImagePlugin'):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # our errors say what they cannot read


def read(content: bytes, megapixels: float) -> tuple[np.ndarray, Metadata, list[str], bool]:
    """Samples, what the file says, notes, and whether the samples are inks.

    The samples are as they are stored. The metadata, whose EXIF data is made of TIFF's tags, says how to turn them.

    Args:
        content: of the file. If it has several pages, the first is read that is not a reduced copy of another.
        megapixels: the limit.

    Raises:
        UnreadableError: samples of other kinds, or too many pixels.
        DamagedError: pixels are missing. Damaged files make tifffile raise other errors as well.
    """
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page, place, notes = _first_whole_page(file)
        if why := too_large(page.imagewidth, page.imagelength, megapixels):
            raise UnreadableError(why)
        channels, bits = page.samplesperpixel * page.imagedepth, page.bitspersample
        if channels > _MOST_SAMPLES or page.imagedepth != 1:
            raise UnreadableError(f'it has {channels} channels: convert it to RGB or grey')
        if page.sampleformat not in (1, 4) or bits not in (1, 2, 4, 8, 16):
            kind = {2: 'signed', 3: 'floating-point'}.get(page.sampleformat, 'whole')
            raise UnreadableError(f'its samples are {bits}-bit {kind} numbers: convert to 8 or 16 bits without sign')
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
    """The first page that is not a reduced copy, where libvips finds it, and what to say of the other pages.

    Cameras put a thumbnail first, and the image after it or below it.
    """
    first, count = file.pages.first, len(file.pages)
    if first.is_reduced:
        others = [(page, {'page': index}) for index, page in enumerate(file.pages) if index]
        others += [(page, {'subifd': index}) for index, page in enumerate(first.pages or ())]
        for number, (page, place) in enumerate(others, start=2):
            if isinstance(page, tifffile.TiffPage) and not page.is_reduced:
                note = f'only page {number} of {1 + len(others)} is enlarged, because the first is a small copy'
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
    source, exif = Image.Exif(), Image.Exif()
    source.bigtiff, source.endian = page.parent.is_bigtiff, page.parent.byteorder
    try:
        source.load_from_fp(io.BytesIO(content), page.offset)
        exif.update(_descriptive(source))
    except Exception:  # damaged bytes make Pillow raise anything
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


def _descriptive(exif: Image.Exif) -> dict[int, Any]:
    """The tags that describe the image; a folder's value is a dictionary."""
    found: dict[int, Any] = {tag: exif[tag] for tag in _DESCRIPTIVE if tag in exif}
    for tag in _FOLDERS:
        if folder := {key: value for key, value in exif.get_ifd(tag).items() if key != _MAKER_NOTE}:
            found[tag] = folder
    return found


def write(path: Path, samples: np.ndarray, metadata: Metadata) -> None:
    """Write a TIFF, compressed by Deflate with differences; a BigTIFF if it may have more than 4 GB.

    Args:
        path: of the file.
        samples: (H, W, C) uint8 or uint16, C = 1 to 4; they may lie in a file (`np.memmap`).
        metadata: what else the file says.
    """
    channels = samples.shape[2]
    exif = Image.Exif()
    exif.load(metadata.exif or b'')
    tags = _descriptive(exif) | ({_XMP: metadata.xmp} if metadata.xmp else {})
    folders = {tag: tags.pop(tag) for tag in _FOLDERS if tag in tags}
    extra = [_extra_tag(tag, value) for tag, value in tags.items()]
    extra += [
        (tag + 1, 'I', 1, 0, True) for tag in folders
    ]  # placeholders: tifffile does not write the tags themselves
    with tifffile.TiffWriter(path, bigtiff=samples.nbytes > _LARGEST_CLASSIC, byteorder='<') as file:
        file.write(
            samples if channels > 1 else samples[..., 0],
            photometric='rgb' if channels > 2 else 'minisblack',
            planarconfig='contig' if channels > 1 else None,
            extrasamples=['unassalpha'] if channels in (2, 4) else None,
            rowsperstrip=max(1, _STRIP // samples[0].nbytes),
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


def _extra_tag(tag: int, value: Any) -> tuple[int, str, int, Any, bool]:
    """A tag as tifffile takes it."""
    if isinstance(value, str):
        return tag, 's', 0, value.encode(), True
    if isinstance(value, bytes):
        return tag, 'B', len(value), value, True
    return tag, 'H', 1, value, True


def _append_folder(path: Path, tag: int, folder: dict[int, Any]) -> None:
    """Append a folder of EXIF tags to a TIFF; the placeholder `tag + 1` becomes the tag that leads to it."""
    with tifffile.TiffFile(path, mode='r+') as file:
        handle = file.filehandle
        start = handle.seek(0, 2) + handle.size % 2
        header = b'II+\0\x08'.ljust(16, b'\0') if file.is_bigtiff else b'II*'.ljust(8, b'\0')
        entries = ImageFileDirectory_v2(header, group=tag)
        entries.update(folder)
        handle.seek(start)
        handle.write(entries.tobytes(start))
        placeholder = file.pages.first.tags[tag + 1]
        placeholder.overwrite(start)
        handle.seek(placeholder.offset)
        handle.write(struct.pack('<H', tag))
