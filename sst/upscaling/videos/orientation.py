"""Turning frames upright: phones write them as the sensor was held, and a matrix beside them."""

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame


class Turn(NamedTuple):
    """Rows and columns are exchanged first, then rows are reversed, then columns."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False
    exact: bool = True  # False: the matrix asks for more than turns by 90 degrees and mirrors

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, C) as it is to be seen."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        rows = slice(None, None, -1 if self.upside_down else 1)
        columns = slice(None, None, -1 if self.mirrored else 1)
        return np.ascontiguousarray(picture[rows, columns])


def turn_of(frame: 'VideoFrame') -> Turn:
    """The turn that a frame's display matrix asks for, rounded to a multiple of 90 degrees."""
    side_data: Any = frame.side_data  # a mapping from names, which PyAV's types do not say
    matrix = side_data.get('DISPLAYMATRIX')
    if matrix is None:
        return Turn()
    # x' = a x + c y, y' = b x + d y, in 16.16 fixed point
    a, b, _, c, d = struct.unpack('=9i', bytes(matrix))[:5]
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if transposed else (a, d)
    rest = (a, d) if transposed else (b, c)
    largest = max(abs(across), abs(down))
    exact = not largest or (max(map(abs, rest)) < 0.01 * largest and abs(abs(across) - abs(down)) < 0.01 * largest)
    return Turn(transposed, down < 0, across < 0, exact)
