"""From an uploaded file to what the page shows. Only this module connects the page with pictures and networks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from sst.api import Upscaler
from sst.inference.enlarging import whole
from sst.upscaling.pictures import ImageFile, read_image, write_image
from sst.utils.errors import UserError
from sst.utils.pixels import claimed_size

SCALES = (1, 8)  # what may be asked for
GROWTH = 16  # times the limit of a picture's pixels, which its result may have: x4 of the largest
_ENDINGS = {'PNG': '.png', 'JPEG': '.jpg', 'WEBP': '.webp', 'TIFF': '.tif'}
_WEBP_SIDE = 16383
_SHOWN_SIDE = 2400  # pixels of what the browser shows of a result
_PREVIEW_SIDE = 800


@dataclass(frozen=True)
class Result:
    """What the page shows of an enlarged picture; sizes are (width, height)."""

    file: Path  # the whole picture, to download
    before: Path  # two pictures of equal size to compare: by bicubic interpolation, and by the network
    after: Path
    size_before: tuple[int, int]
    size_after: tuple[int, int]
    seconds: float  # of the network and the resizing to the exact scale
    notes: tuple[str, ...] = ()


def enlarge_upload(path: Path, upscaler: Upscaler, scale: float, folder: Path, max_pixels: float) -> Result:
    """Enlarge an uploaded picture by the network, then resize it to the exact scale.

    The file to download has the format and the metadata of the one that was uploaded; BMP and GIF become PNG.

    Args:
        path (Path): the uploaded file.
        upscaler (Upscaler): the network.
        scale (float): side of the result over that of the picture, within `SCALES`.
        folder (Path): where the files of the result are written; it must be there.
        max_pixels (float): how many the picture may have; the result may have `GROWTH` times as many.

    Raises:
        UserError: no picture, too large, a scale that is not allowed, not enough memory; in one line without folders.
    """
    with _told_to_visitors(path.parent, folder):
        exact = _checked_scale(scale)
        picture = _read(path, max_pixels)
        _require_result_fits(picture, exact, max_pixels)
        start = time.perf_counter()
        result = _computed(picture, upscaler, exact)
        seconds = time.perf_counter() - start
        file = folder / f'{path.stem}_x{float(exact):g}{_ending(path, result)}'
        lost = write_image(result, file)
        after = _shown(result, _SHOWN_SIDE)
        before = _shown(picture).resize(after.size, Image.Resampling.BICUBIC)
        return Result(
            file=file,
            before=_saved(before, folder / 'bicubic.jpg', picture),
            after=_saved(after, folder / 'network.jpg', picture),
            size_before=_size(picture),
            size_after=_size(result),
            seconds=seconds,
            notes=(*result.notes, *lost, *_note_of_scale(exact, upscaler.scale)),
        )


def preview_upload(path: Path, folder: Path, max_pixels: float) -> tuple[Path, tuple[int, int]]:
    """A small JPEG of an uploaded picture, written into `folder`, and the picture's (width, height).

    Raises:
        UserError: no picture, or too large; in one line without folders.
    """
    with _told_to_visitors(path.parent, folder):
        picture = _read(path, max_pixels)
        return _saved(_shown(picture, _PREVIEW_SIDE), folder / 'preview.jpg', picture), _size(picture)


@contextmanager
def _told_to_visitors(*folders: Path) -> Iterator[None]:
    """Errors name files without their folders. If memory is short, the error says what to do."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for folder in folders:
            text = text.replace(f'{folder}/', '')
        raise UserError(text) from error
    except MemoryError as fault:
        raise UserError('not enough memory for this picture; try a smaller one') from fault


def _checked_scale(scale: float) -> Fraction:
    least, greatest = SCALES
    if not least <= scale <= greatest:
        raise UserError(f'the scale must be from {least} to {greatest}, not {scale:g}')
    return Fraction(scale).limit_denominator(1000)


def _read(path: Path, max_pixels: float) -> ImageFile:
    with suppress(OSError):  # read_image says what is wrong
        _require_fits(path, *(claimed_size(path.read_bytes()) or (0, 0)), max_pixels)
    picture = read_image(path, max_pixels / 1e6)
    _require_fits(path, *_size(picture), max_pixels)
    return picture


def _require_fits(path: Path, width: int, height: int, max_pixels: float) -> None:
    if width * height > max_pixels:
        raise UserError(
            f'{path}: {width} x {height} pixels are {_millions(width * height)} million, and {_millions(max_pixels)} '
            'million are the limit here; shrink or cut the picture'
        )


def _require_result_fits(picture: ImageFile, scale: Fraction, max_pixels: float) -> None:
    width, height = _size(picture)
    pixels = width * height * scale**2
    if pixels > GROWTH * max_pixels:
        raise UserError(
            f'the result would have {_millions(pixels)} million pixels, and {_millions(GROWTH * max_pixels)} million '
            'are the limit here; choose a smaller scale'
        )


def _millions(pixels: float | Fraction) -> str:
    return f'{float(pixels) / 1e6:.3g}'


def _size(picture: ImageFile) -> tuple[int, int]:
    height, width, _ = picture.shape
    return width, height


def _computed(picture: ImageFile, upscaler: Upscaler, scale: Fraction) -> ImageFile:
    """The enlarged picture with all its pixels in memory, because they are both written and shown."""
    height, width, _ = picture.shape
    large = upscaler.enlarge(picture.samples, (max(1, round(height * scale)), max(1, round(width * scale))))
    return replace(picture, samples=whole(large))


def _ending(path: Path, picture: ImageFile) -> str:
    """The format of the uploaded file if it states one that can be written, else PNG."""
    ending = _ENDINGS.get(picture.format, '.png')
    if picture.format == 'WEBP' and max(_size(picture)) > _WEBP_SIDE:
        return '.png'
    same = {'.jpg': ('.jpg', '.jpeg'), '.tif': ('.tif', '.tiff')}.get(ending, ())
    return path.suffix if path.suffix.lower() in same else ending


def _note_of_scale(scale: Fraction, network: int) -> tuple[str, ...]:
    if scale > network:
        return (f'the network enlarges x{network}; from there to x{float(scale):g} it is bicubic interpolation',)
    return ()


def _shown(picture: ImageFile, side: int | None = None) -> Image.Image:
    """A picture with 8 bits on white, no larger than `side`."""
    values = picture.whole()
    alpha = values[..., -1:]
    values = values[..., :1] if picture.grey else values[..., :3]
    if picture.has_alpha:
        values = values * alpha + (1 - alpha)
    samples = np.rint(values * 255).astype(np.uint8)
    image = Image.fromarray(samples[..., 0] if picture.grey else samples)
    if side is not None:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def _saved(image: Image.Image, path: Path, picture: ImageFile) -> Path:
    image.save(path, quality=95, subsampling=0, icc_profile=picture.metadata.icc)
    return path
