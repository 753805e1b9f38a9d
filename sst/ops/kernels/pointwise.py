"""Kernels for the layers around attention, each of which passes over the map once.

`linear_kernel` computes activation(LN(x) W^T + b), `depthwise_kernel` computes h + GELU(DW3x3(h)). With
`depthwise_gradient_kernel` it computes the gradients of that, too. All compute in float32, except for the operands of
the matrix products.
"""

import triton
import triton.language as tl


@triton.jit
def gelu(x):
    """x Phi(x), from the error function."""
    return 0.5 * x * (1.0 + tl.math.erf(x * 0.7071067811865476))


@triton.jit
def gelu_slope(x):
    """The derivative of GELU, Phi(x) + x phi(x)."""
    return 0.5 * (1.0 + tl.math.erf(x * 0.7071067811865476)) + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)


@triton.jit
def load_rows(pointer, row, exists, C: tl.constexpr, OFFSET: tl.constexpr, LANES: tl.constexpr):
    """Channels OFFSET, OFFSET + 1, ... of rows of C, zeros beyond: (BLOCK, LANES)."""
    lane = OFFSET + tl.arange(0, LANES)[None, :]
    mask = exists[:, None]
    if OFFSET + LANES > C:
        mask = mask & (lane < C)
    return tl.load(pointer + row[:, None] * C + lane, mask=mask, other=0.0)


@triton.jit
def centred(x, mean, C: tl.constexpr, OFFSET: tl.constexpr, LANES: tl.constexpr):
    """x without its mean, zero in the lanes beyond the channels."""
    x -= mean[:, None]
    if OFFSET + LANES > C:
        x = tl.where((OFFSET + tl.arange(0, LANES) < C)[None, :], x, 0.0)
    return x


@triton.jit
def scaled(x, weight, bias, C: tl.constexpr, OFFSET: tl.constexpr, LANES: tl.constexpr):
    """x * weight + bias, channel by channel, zero in the lanes beyond."""
    lane = OFFSET + tl.arange(0, LANES)
    weight = tl.load(weight + lane, mask=lane < C, other=0.0).to(tl.float32)
    bias = tl.load(bias + lane, mask=lane < C, other=0.0).to(tl.float32)
    return x * weight[None, :] + bias[None, :]


@triton.jit(do_not_specialize=['rows', 'share'])  # one build serves maps of any size
def linear_kernel(
    x, norm_weight, norm_bias, weight, bias, out,
    rows, share,
    EPS: tl.constexpr, ACTIVATION: tl.constexpr, C: tl.constexpr, K: tl.constexpr, FIRST: tl.constexpr,
    SECOND: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M rows of x (rows, C), normalised once, against `share` blocks of weight (K, C).

    norm_weight and norm_bias are (C,), or None for no normalisation. Writes out (rows, K).
    """
    BLOCKS: tl.constexpr = (K + BLOCK_N - 1) // BLOCK_N
    shares = (BLOCKS + share - 1) // share
    program = tl.program_id(0)  # neighbouring programs share rows
    start = (program // shares).to(tl.int64) * BLOCK_M
    row = tl.arange(0, BLOCK_M)
    exists = row < rows - start
    x += start * C
    out += start * K

    first = load_rows(x, row, exists, C, 0, FIRST)  # (BLOCK_M, FIRST)
    dtype = first.dtype
    if SECOND > 0:
        second = load_rows(x, row, exists, C, FIRST, SECOND)  # (BLOCK_M, SECOND)
    if norm_weight is not None:
        first = first.to(tl.float32)
        total = tl.sum(first, 1)
        if SECOND > 0:
            second = second.to(tl.float32)
            total += tl.sum(second, 1)
        mean = total / C
        first = centred(first, mean, C, 0, FIRST)
        squares = tl.sum(first * first, 1)
        if SECOND > 0:
            second = centred(second, mean, C, FIRST, SECOND)
            squares += tl.sum(second * second, 1)
        scale = tl.math.rsqrt(squares / C + EPS)[:, None]
        first = scaled(first * scale, norm_weight, norm_bias, C, 0, FIRST).to(dtype)
        if SECOND > 0:
            second = scaled(second * scale, norm_weight, norm_bias, C, FIRST, SECOND).to(dtype)

    begin = program % shares * share
    for block in range(begin, tl.minimum(begin + share, BLOCKS)):
        column = block * BLOCK_N + tl.arange(0, BLOCK_N)
        inside = column < K
        w = load_rows(weight, column, inside, C, 0, FIRST)  # (BLOCK_N, FIRST)
        result = tl.dot(first, tl.trans(w), input_precision='ieee')  # (BLOCK_M, BLOCK_N)
        if SECOND > 0:
            w = load_rows(weight, column, inside, C, FIRST, SECOND)
            result = tl.dot(second, tl.trans(w), result, input_precision='ieee')
        result += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        if ACTIVATION == 'gelu':
            result = gelu(result)
        if ACTIVATION == 'sigmoid':
            result = tl.sigmoid(result)
        tl.store(out + row[:, None] * K + column[None, :], result, mask=exists[:, None] & inside[None, :])


@triton.jit
def tile_of(height, width, F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr):
    """This program's part of a map (B, H, W, F): CHANNELS channels of ROWS x COLUMNS pixels.

    Returns the number of the tile, the offset of its first pixel, where it lies, and the program's channels. Programs
    of the same tile are neighbours.
    """
    BLOCKS: tl.constexpr = (F + CHANNELS - 1) // CHANNELS
    program = tl.program_id(0)
    tile = program // BLOCKS
    across, down = (width + COLUMNS - 1) // COLUMNS, (height + ROWS - 1) // ROWS
    top, left = tile // across % down * ROWS, tile % across * COLUMNS
    corner = ((tile // (across * down) * height + top).to(tl.int64) * width + left) * F
    return tile, corner, top, left, program % BLOCKS * CHANNELS + tl.arange(0, CHANNELS)


@triton.jit
def load_moved(pointer, place, y, x, dy, dx, height, width, inside, F: tl.constexpr):
    """What lies dy rows below and dx columns right of pixels, zeros beyond the map: (pixels, CHANNELS)."""
    there = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    values = tl.load(pointer + place + (dy * width + dx) * F, mask=there[:, None] & inside[None, :], other=0.0)
    return values.to(tl.float32)


@triton.jit(do_not_specialize=['height', 'width'])
def depthwise_kernel(
    h, weight, bias, grad, out,
    height, width,
    F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One program: CHANNELS channels of ROWS x COLUMNS pixels of h (B, H, W, F), with zeros around the map.

    weight is (F, 3, 3), bias (F,). Writes out (B, H, W, F): h + GELU(y), where y = DW(h) + bias. With `grad`, the
    gradient of that, it is the gradient of y instead, s = grad GELU'(y).
    """
    _, corner, top, left, channel = tile_of(height, width, F, ROWS, COLUMNS, CHANNELS)
    h += corner
    out += corner
    inside = channel < F
    pixel = tl.arange(0, ROWS * COLUMNS)
    y, x = pixel // COLUMNS, pixel % COLUMNS
    place = (y * width + x)[:, None] * F + channel[None, :]  # (pixels, CHANNELS)
    y += top
    x += left
    result = tl.zeros([ROWS * COLUMNS, CHANNELS], tl.float32)
    for dy in range(-1, 2):  # not unrolled, because nine loads at once do not fit into registers
        for dx in tl.static_range(-1, 2):
            factor = tl.load(weight + channel * 9 + (dy + 1) * 3 + dx + 1, mask=inside, other=0.0)
            values = load_moved(h, place, y, x, dy, dx, height, width, inside, F)
            result += values * factor.to(tl.float32)[None, :]
    result += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    exists = ((y < height) & (x < width))[:, None] & inside[None, :]
    if grad is None:
        result = tl.load(h + place, mask=exists, other=0.0).to(tl.float32) + gelu(result)
    else:
        result = tl.load(grad + corner + place, mask=exists, other=0.0).to(tl.float32) * gelu_slope(result)
    tl.store(out + place, result, mask=exists)


@triton.jit(do_not_specialize=['height', 'width'])
def depthwise_gradient_kernel(
    h, weight, grad, s, d_h, shares,
    height, width,
    F: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One program: CHANNELS channels of ROWS x COLUMNS pixels of maps (B, H, W, F), s from `depthwise_kernel`.

    Writes d_h = grad + DW^T(s) and its share of the other gradients, sums over its pixels. shares is (tiles, 10, F) in
    float32: nine of weight, sums of s times h moved, and the sum of s for bias.
    """
    tile, corner, top, left, channel = tile_of(height, width, F, ROWS, COLUMNS, CHANNELS)
    s += corner
    shares += tile.to(tl.int64) * 10 * F
    inside = channel < F
    pixel = tl.arange(0, ROWS * COLUMNS)
    y, x = pixel // COLUMNS, pixel % COLUMNS
    place = (y * width + x)[:, None] * F + channel[None, :]  # (pixels, CHANNELS)
    y += top
    x += left
    exists = ((y < height) & (x < width))[:, None] & inside[None, :]
    own = tl.load(h + corner + place, mask=exists, other=0.0).to(tl.float32)
    result = tl.load(grad + corner + place, mask=exists, other=0.0).to(tl.float32)
    for dy in range(-1, 2):
        for dx in tl.static_range(-1, 2):  # the pixel there read this one by the opposite place of the filter
            index = (1 - dy) * 3 + 1 - dx
            factor = tl.load(weight + channel * 9 + index, mask=inside, other=0.0)
            values = load_moved(s, place, y, x, dy, dx, height, width, inside, F)
            result += values * factor.to(tl.float32)[None, :]
            tl.store(shares + index * F + channel, tl.sum(values * own, 0), mask=inside)
    tl.store(d_h + corner + place, result, mask=exists)
    values = tl.load(s + place, mask=exists, other=0.0).to(tl.float32)
    tl.store(shares + 9 * F + channel, tl.sum(values, 0), mask=inside)
