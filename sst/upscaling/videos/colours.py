"""Conversion of a video's colours to RGB and back without a shift.

Codes are those of ITU-T H.273, which every container and FFmpeg use. What a file leaves open is taken as players take
it, by the size of its frames. The result's frames are larger, and players would guess otherwise: it always says all.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame

BT709, BT601_625, BT601_525 = 1, 5, 6
LIMITED, FULL = 1, 2
_RGB = 0
_OPEN = (0, 2, 3)  # of primaries and transfer: reserved or unspecified
_SWSCALE = {BT709: 1, 4: 4, BT601_625: 5, BT601_525: 5, 7: 7, 9: 9}  # matrices that swscale knows, by its own codes
_TRANSFER = {BT709: 1, 4: 4, BT601_625: 6, BT601_525: 6, 7: 7, 9: 14}  # usual beside a matrix; primaries: its own code
_PQ, _HLG = 16, 18
_ACCURATE = 4 | 0x2000 | 0x4000 | 0x40000  # bicubic, full chroma in and out, accurate rounding: swscale's flags


@dataclass(frozen=True)
class Colours:
    """Matrix, primaries and transfer as numbers of H.273. The written range is always the limited one."""

    matrix: int
    primaries: int
    transfer: int

    @property
    def hdr(self) -> bool:
        return self.transfer in (_PQ, _HLG)


def colours_of(frame: 'VideoFrame') -> Colours:
    """A frame's colours. If the frame does not state them, they are those that players assume."""
    matrix = frame.colorspace if frame.colorspace in _SWSCALE else _guess(frame)
    primaries = matrix if frame.color_primaries in _OPEN else frame.color_primaries
    transfer = _TRANSFER[matrix] if frame.color_trc in _OPEN else frame.color_trc
    return Colours(matrix, primaries, transfer)


def _guess(frame: 'VideoFrame') -> int:
    if frame.color_primaries in (BT709, 9):
        return frame.color_primaries
    if frame.format.is_rgb or frame.width >= 1280 or frame.height > 576:
        return BT709
    return BT601_625 if frame.height in (288, 576) else BT601_525


def colour_notes(frame: 'VideoFrame') -> list[str]:
    """The notes on what 8-bit RGB cannot hold of a frame's colours."""
    notes = []
    bits = max(component.bits for component in frame.format.components)
    if colours_of(frame).hdr:
        notes.append(
            f'its {bits} bits become 8: it stays HDR, without its mastering data, and gradients may show bands'
        )
    elif bits > 8:
        notes.append(f'its {bits} bits become 8')
    if _has_alpha(frame):
        notes.append('transparency is laid on black, because the encoders have none')
    if frame.colorspace not in (*_SWSCALE, _RGB, 2) and not frame.format.is_rgb:
        notes.append(f'its colour matrix (number {frame.colorspace} of H.273) is not known here: colours may be off')
    return notes


def _has_alpha(frame: 'VideoFrame') -> bool:
    return any(component.is_alpha for component in frame.format.components) and frame.format.name != 'pal8'


def to_rgb(frame: 'VideoFrame') -> np.ndarray:
    """A decoded frame of any pixel format as (H, W, 3) uint8."""
    full = frame.color_range == FULL or frame.format.is_rgb or frame.format.name.startswith('yuvj')
    alpha = _has_alpha(frame)
    rgb = frame.reformat(
        format='rgba' if alpha else 'rgb24',
        src_colorspace=_SWSCALE[colours_of(frame).matrix],
        src_color_range=FULL if full else LIMITED,
        dst_color_range=FULL,
        interpolation=_ACCURATE,
    ).to_ndarray()
    if not alpha:
        return rgb
    return ((rgb[..., :3].astype(np.uint16) * rgb[..., 3:] + 127) // 255).astype(np.uint8)


def from_rgb(rgb: np.ndarray, colours: Colours) -> 'VideoFrame':
    """(H, W, 3) uint8 as a frame of yuv420p in limited range."""
    from av import VideoFrame

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format='rgb24')
    return frame.reformat(
        format='yuv420p',
        dst_colorspace=_SWSCALE[colours.matrix],
        src_color_range=FULL,
        dst_color_range=LIMITED,
        interpolation=_ACCURATE,
    )
