"""Reading, writing and shrinking pictures for the datasets."""

import io
import warnings
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image

from prepare.files import write_whole
from prepare.parallel import FileError
from sst.ops.imresize import imresize
from sst.utils.errors import UserError
from sst.utils.jpeg import CORNERS, JPEG_HEAD, lacks_pixels
from sst.utils.pixels import claimed_size, opened, too_large
from sst.utils.png import without_damaged_extras

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
# As BasicSR reads, but grey pictures stay grey and 16 bits stay: turned as the EXIF says, without alpha.
_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_ORIENTATION = 0x0112  # EXIF tag
# OpenCV's own choice: a third quicker to write than the other; 6 % larger for detailed photographs, 11 % for soft ones.
_QUICK = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
# The filter that suits each line: naming the level before the strategy asks for it.
_SMALL = (cv2.IMWRITE_PNG_COMPRESSION, 1, *_QUICK)

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it says of broken files names none of them


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in `folder`, sorted by name; folders in it and hidden files are left alone.

    Raises:
        UserError: if there is no such folder or no picture in it.
    """
    if not folder.is_dir():
        raise UserError(f'{folder}: {"a file, not a folder" if folder.exists() else "no such folder"}')
    paths = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not paths:
        raise UserError(f'{folder}: no pictures in it; allowed are {", ".join(SUFFIXES)}')
    return paths


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file()


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """The paths under their names without extension.

    Raises:
        UserError: if two have the same, for their results would have one name.
    """
    stems: dict[str, Path] = {}
    for path in paths:
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f'{other} and {path} both are called {path.stem}, and so would be what is made of them: rename or '
                'remove one'
            )
    return stems


def is_finished(path: Path, size: tuple[int, int], source: Path) -> bool:
    """Whether `path` holds a picture of (height, width) pixels already; an empty or broken file is none.

    Raises:
        FileError: if it holds a picture of another size, which cannot have been made of `source`.
    """
    try:
        height, width, _ = read_shape(path)
    except FileError:
        return False
    if (height, width) != size:
        raise FileError(
            f'{path}: {width}x{height} pixels, but {source} makes {size[1]}x{size[0]}; remove it, or name another '
            'output'
        )
    return True


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8; grey pictures get three equal channels."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB'))


def read_picture(path: Path) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 or uint16, channels in OpenCV's order. Raises FileError where it cannot be read."""
    return decode_picture(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises FileError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise FileError(f'{path}: cannot be read: {fault.strerror}') from fault


def decode_picture(content: bytes, name: str) -> np.ndarray:
    """The picture as `read_picture` gives it, from the bytes of a file called `name`. Raises FileError."""
    claimed = claimed_size(content)
    if claimed is None:  # OpenCV reads kinds that Pillow does not know, and would take any size
        raise FileError(f'{name}: {describe_broken(content)}')
    _require_fits(name, *claimed)
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), _AS_STORED) if content else None
    except cv2.error:  # too large for OpenCV
        picture = None
    if picture is None or (content.startswith(JPEG_HEAD) and lacks_pixels(content, picture[CORNERS])):
        raise FileError(f'{name}: {describe_broken(content)}')
    if picture.dtype not in (np.uint8, np.uint16):
        raise FileError(f'{name}: pixels of type {picture.dtype}; allowed are pictures of 8 or 16 bits a channel')
    return picture


def describe_broken(content: bytes) -> str:
    """Why bytes are no picture."""
    if not content:
        return 'empty; fetch it again'
    if content.lstrip()[:1] == b'<':
        return 'a web page, not a picture; fetch it again'
    return 'cannot be decoded as a picture (truncated or damaged); fetch it again'


def read_shape(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) as a reader sees them, from the header alone. Raises FileError."""
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


def _require_fits(name: str, width: int, height: int) -> None:
    if why := too_large(width, height):
        raise FileError(f'{name}: {why}')


def _header_shape(file: IO[bytes], name: str) -> tuple[int, int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of odd EXIF, which is no fault here
        with opened(file) as picture:
            _require_fits(name, *picture.size)
            # Pillow would decode a whole PNG to find out that it has no EXIF.
            exif = picture.getexif() if picture.format != 'PNG' or 'exif' in picture.info else {}
            turned = exif.get(_ORIENTATION, 1) >= 5  # lies on its side
            width, height = picture.size[::-1] if turned else picture.size
            return height, width, 1 if picture.mode in ('1', 'L', 'I', 'I;16') else 3


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 picture so that `path` never holds half of it."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format='PNG')
    write_whole(path, content.getvalue())


def write_picture(path: Path, picture: np.ndarray, *, quick: bool = False) -> None:
    """Write a picture as `read_picture` gives it as PNG, `quick` rather than small. Raises UserError."""
    _, content = cv2.imencode('.png', picture, _QUICK if quick else _SMALL)
    write_whole(path, content.data)


def shrink(picture: np.ndarray, scale: int) -> np.ndarray:
    """The LR picture of an HR picture whose sides are multiples of `scale`."""
    return imresize(picture, Fraction(1, scale))
