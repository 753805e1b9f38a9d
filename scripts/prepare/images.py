"""Reading, writing and shrinking images for the datasets."""

import io
import warnings
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from prepare.files import write_file
from prepare.parallel import FileError
from sst.ops.imresize import imresize
from sst.utils.errors import UserError
from sst.utils.jpeg import CORNERS, JPEG_HEAD, lacks_pixels
from sst.utils.pixels import claimed_size, opened, too_large
from sst.utils.png import without_damaged_extras

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
# As BasicSR reads (EXIF orientation applied, no alpha), but grey images stay grey and 16 bits stay 16 bits.
_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_ORIENTATION = 0x0112  # EXIF tag
# OpenCV's default: takes a third less time than the other, and files are 6 to 11 % larger.
_QUICK = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
# Chooses a filter for each row, because the level comes before the strategy.
_SMALL = (cv2.IMWRITE_PNG_COMPRESSION, 1, *_QUICK)

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its messages do not name the broken file


def list_images(folder: Path) -> list[Path]:
    """The images in `folder`, sorted by name, without hidden files and subfolders.

    Raises:
        UserError: there is no such folder, or it holds no image.
    """
    if not folder.is_dir():
        raise UserError(f'{folder}: {"a file, not a folder" if folder.exists() else "no such folder"}')
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file()
    )
    if not paths:
        raise UserError(f'{folder}: holds no images; use files that end in {", ".join(SUFFIXES)}')
    return paths


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """The paths under their names without extension. Raises UserError if two have the same one."""
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise UserError(f'{other} and {path}: both would give results called {path.stem}; rename or remove one')
    return stems


def is_finished(path: Path, size: tuple[int, ...], source: Path) -> bool:
    """Whether `path` holds an image of (height, width) pixels already. An empty or broken file is not finished.

    Raises:
        FileError: it holds an image of another size, which cannot come from `source`.
    """
    try:
        height, width, _ = read_shape(path)
    except FileError:
        return False
    if (height, width) != size:
        raise FileError(
            f'{path}: has {width}x{height} pixels, but {source} gives {size[1]}x{size[0]}; remove it or choose another '
            'output'
        )
    return True


def read_image(path: Path) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 or uint16, channels in OpenCV's order. Raises FileError if it cannot be read."""
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises FileError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise FileError(f'{path}: cannot be read: {fault.strerror}') from fault


def decode_image(content: bytes, name: str) -> np.ndarray:
    """The image as `read_image` gives it, from the bytes of a file called `name`. Raises FileError."""
    claimed = claimed_size(content)
    if claimed is None:  # OpenCV reads formats that Pillow does not know, and accepts any size
        raise FileError(f'{name}: {describe_broken(content)}')
    if why := too_large(*claimed):
        raise FileError(f'{name}: {why}')
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _AS_STORED)
    except cv2.error:  # too large for OpenCV
        image = None
    if image is None or (content.startswith(JPEG_HEAD) and lacks_pixels(content, image[CORNERS])):
        raise FileError(f'{name}: {describe_broken(content)}')
    if image.dtype not in (np.uint8, np.uint16):
        raise FileError(f'{name}: has pixels of type {image.dtype}; use images of 8 or 16 bits per channel')
    return image


def describe_broken(content: bytes) -> str:
    """Why bytes are not an image."""
    if not content:
        return 'empty; download it again'
    if content.lstrip()[:1] == b'<':
        return 'a web page, not an image; download it again'
    return 'cannot be decoded as an image (truncated or damaged); download it again'


def read_shape(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) of the decoded image, from the header alone. Raises FileError."""
    try:
        with open(path, 'rb') as file:
            return _header_shape(file, str(path))
    except (OSError, ValueError, SyntaxError):  # Pillow raises all of these
        return decode_shape(read_bytes(path), str(path))


def decode_shape(content: bytes, name: str) -> tuple[int, int, int]:
    """(height, width, channels) from the header in the bytes of a file called `name`. Raises FileError."""
    try:
        return _header_shape(io.BytesIO(content), name)
    except (OSError, ValueError, SyntaxError) as fault:
        sound, damaged = without_damaged_extras(content)
        if damaged:
            return decode_shape(sound, name)
        raise FileError(f'{name}: {describe_broken(content)}') from fault


def _header_shape(file: IO[bytes], name: str) -> tuple[int, int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about unusual EXIF data
        with opened(file) as image:
            if why := too_large(*image.size):
                raise FileError(f'{name}: {why}')
            # Pillow would decode a whole PNG only to find that it has no EXIF data.
            exif = image.getexif() if image.format != 'PNG' or 'exif' in image.info else {}
            on_its_side = exif.get(_ORIENTATION, 1) >= 5
            width, height = image.size[::-1] if on_its_side else image.size
            return height, width, 1 if image.mode in ('1', 'L', 'I', 'I;16') else 3


def write_image(path: Path, image: np.ndarray, *, quick: bool = False) -> None:
    """Write an image as `read_image` gives it to a PNG file, `quick` rather than small. Raises UserError."""
    _, content = cv2.imencode('.png', image, _QUICK if quick else _SMALL)
    write_file(path, [content.data])


def shrink(image: np.ndarray, scale: int) -> np.ndarray:
    """The LR image of an HR image whose sides are multiples of `scale`."""
    return imresize(image, Fraction(1, scale))
