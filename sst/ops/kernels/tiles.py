"""Parts of the kernels: where the tokens of a window lie in the map, and how their tiles are loaded.

A window's token n lies at row n // WINDOW, column n % WINDOW of the padded and rolled map. Undoing the roll gives its
place in the padded map, and reflecting that place gives its source in the map itself. See `sst.ops.windows`.
"""

import triton
import triton.language as tl


@triton.jit
def window_corner(window, rows, columns, WINDOW: tl.constexpr):
    """Image, top and left of a window. Windows are numbered row by row, image by image."""
    top = window // columns % rows * WINDOW
    left = window % columns * WINDOW
    return window // (columns * rows), top, left


@triton.jit
def unrolled(position, padded, SHIFT: tl.constexpr):
    """Place in the padded map of a position in the padded map rolled by -SHIFT."""
    if SHIFT:
        position += SHIFT
        position = tl.where(position >= padded, position - padded, position)
    return position


@triton.jit
def reflected(place, size, PERIODIC: tl.constexpr):
    """Source of a place on an axis of `size` pixels reflected at its end, periodically if PERIODIC."""
    if PERIODIC:
        place = place % tl.maximum(2 * (size - 1), 1)
    return tl.minimum(place, tl.abs(2 * (size - 1) - place))


@triton.jit
def token_places(token, top, left, rows, columns, WINDOW: tl.constexpr, SHIFT: tl.constexpr):
    """Places (y, x) in the padded map of a window's tokens."""
    y = unrolled(top + token // WINDOW, rows * WINDOW, SHIFT)
    x = unrolled(left + token % WINDOW, columns * WINDOW, SHIFT)
    return y, x


@triton.jit
def source_pixels(token, top, left, height, width, rows, columns, WINDOW: tl.constexpr, SHIFT: tl.constexpr,
                  PERIODIC: tl.constexpr, INDEX: tl.constexpr):  # fmt: skip
    """The pixels that a window's tokens are read from, as y * width + x of type INDEX."""
    y, x = token_places(token, top, left, rows, columns, WINDOW, SHIFT)
    return (reflected(y, height, PERIODIC) * width + reflected(x, width, PERIODIC)).to(INDEX)


@triton.jit
def padding_in(start, size, padded, WINDOW: tl.constexpr, SHIFT: tl.constexpr):
    """Along a side of the window at `start`: where padding begins, its length, and the number of other positions.

    If the map is smaller than the shift, there is one window, which also ends with padding.
    """
    first = tl.minimum(tl.maximum(size - SHIFT - start, 0), WINDOW)
    end = tl.minimum(tl.maximum(padded - SHIFT - start, 0), WINDOW)
    return first, end - first, WINDOW - (end - first) - tl.maximum(SHIFT - size, 0)


@triton.jit
def load_channels(pointer, pixel, STRIDE: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr):
    """PITCH channels of each pixel, zeros in the lanes beyond: (BLOCK, LANES)."""
    lane = tl.arange(0, LANES)[None, :]
    pointers = pointer + pixel[:, None] * STRIDE + lane
    if PITCH == LANES:
        return tl.load(pointers)
    return tl.load(pointers, mask=lane < PITCH, other=0.0)


@triton.jit
def with_factor(tile, factor, token, D: tl.constexpr, LANES: tl.constexpr, RANK_LANES: tl.constexpr,
                COLUMNS: tl.constexpr):  # fmt: skip
    """A tile of q or k, with the factor's last channels in the lanes that the head leaves empty: (BLOCK, LANES).

    They are the end of the factor's row, which is read from the RANK_LANES-th column on: by 16 bytes at a time.
    """
    lane = tl.arange(0, LANES)[None, :]
    pointers = factor + token[:, None] * COLUMNS + (COLUMNS - LANES) + lane
    spare = tl.load(pointers, mask=lane >= LANES + RANK_LANES - COLUMNS, other=0.0)
    return tl.where(lane < D, tile, spare)


@triton.jit
def load_factor(factor, token, RANK_LANES: tl.constexpr, COLUMNS: tl.constexpr):
    """The factor's first channels for the second product: (BLOCK, RANK_LANES)."""
    return tl.load(factor + token[:, None] * COLUMNS + tl.arange(0, RANK_LANES)[None, :])
