"""The limits of what is read: an image that claims more pixels is refused before it is decoded."""

import argparse
import contextlib
import io
import math
import struct
import threading
from collections.abc import Iterator
from typing import IO

from PIL import Image, PngImagePlugin

from sst.utils.command_line import number_up_to
from sst.utils.png import PNG_HEAD

MEGAPIXELS = 400.0  # million pixels; 20000 x 20000 are 1.2 GB of 8-bit colours
MOST_MEGAPIXELS = 1000.0  # OpenCV decodes 2 ** 30 pixels at most

_default = MEGAPIXELS  # of this process

# Profiles and compressed texts of more than 1 MB are real; Pillow refuses the image for them.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


def default_limit() -> float:
    """Million pixels of an image that this process reads where nothing else is asked for."""
    return _default


def set_default_limit(megapixels: float) -> None:
    """Change what `default_limit` gives in this process."""
    global _default
    _default = megapixels


def too_large(width: int, height: int, megapixels: float | None = None) -> str | None:
    """Why an image of more million pixels (None: `default_limit`) is refused, in words for the user, or None."""
    megapixels = default_limit() if megapixels is None else megapixels
    million = width * height / 1e6
    if million <= megapixels:
        return None
    needed = math.ceil(million)
    if needed > MOST_MEGAPIXELS:
        remedy = f'it can be raised to {MOST_MEGAPIXELS:g} million at most; cut the image into parts'
    else:
        remedy = f'raise it with --max-megapixels {needed}, or in an option file with max_megapixels: {needed}'
    return (
        f'it claims to have {width}x{height} pixels, which are {needed:,} million, and {megapixels:g} million are the '
        f'limit; {remedy}'
    )


def claimed_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) as the head of an image file says; None where Pillow cannot read it."""
    if content.startswith(PNG_HEAD) and len(content) >= 24:
        return struct.unpack_from('>II', content, 16)
    try:
        with opened(io.BytesIO(content)) as image:
            return image.size
    except Exception:  # damaged bytes make Pillow raise anything
        return None


class _LiftedLimit:
    """Pillow's own limit, lifted while any thread is inside: it belongs to the whole process."""

    def __init__(self) -> None:
        self.lock, self.inside, self.limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                Image.MAX_IMAGE_PIXELS = self.limit


_LIFTED = _LiftedLimit()


@contextlib.contextmanager
def opened(file: IO[bytes], formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """An image that Pillow has opened and not decoded, however large it claims to be; formats: as of `Image.open`."""
    with _LIFTED, Image.open(file, formats=formats) as image:
        yield image


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--max-megapixels`."""
    parser.add_argument(
        '--max-megapixels',
        type=number_up_to(MOST_MEGAPIXELS),
        default=MEGAPIXELS,
        metavar='N',
        help='million pixels of the largest image that is read (%(default)g)',
    )
