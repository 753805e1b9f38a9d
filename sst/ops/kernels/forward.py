"""Attention in windows, forward: softmax(q k^T / sqrt(d) + term) v * gate (Eq. 4-6 and 11) in one pass over the keys.

Logits are to base 2 and are scaled where they are used: s = scale * (q k^T + t_q t_k^T), where t_q is sqrt(d) times the
term's q. The softmax is computed online, in float32.
"""

import triton
import triton.language as tl

from sst.ops.kernels.tiles import (
    load_channels,
    load_factor,
    padding_in,
    source_pixels,
    token_places,
    window_corner,
    with_factor,
)


@triton.jit
def query_tokens(first, top, left, height, width, rows, columns, WINDOW: tl.constexpr, SHIFT: tl.constexpr,
                 BLOCK: tl.constexpr):  # fmt: skip
    """Tokens first, first + 1, ... of a window without its padding: their numbers, which exist, their count."""
    y_first, y_padding, down = padding_in(top, height, rows * WINDOW, WINDOW, SHIFT)
    x_first, x_padding, across = padding_in(left, width, columns * WINDOW, WINDOW, SHIFT)
    count = down * across
    number = first + tl.arange(0, BLOCK)
    exists = number < count
    number = tl.minimum(number, tl.maximum(count - 1, 0))
    across = tl.maximum(across, 1)
    y, x = number // across, number % across
    y += tl.where(y >= y_first, y_padding, 0)
    x += tl.where(x >= x_first, x_padding, 0)
    return y * WINDOW + x, exists, count


@triton.jit(do_not_specialize=['height', 'width', 'rows', 'columns'])  # one build serves maps of any size
def forward_kernel(
    qkv, factor_q, factor_k, gate, out, attended, lse,
    height, width, rows, columns,
    SCALE: tl.constexpr, DTYPE: tl.constexpr, WINDOW: tl.constexpr, HEADS: tl.constexpr, SHIFT: tl.constexpr,
    PERIODIC: tl.constexpr, INDEX: tl.constexpr, D: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr,
    RANK_LANES: tl.constexpr, COLUMNS: tl.constexpr, SPARE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M queries of one head in one window, against all its keys.

    qkv is (B, H, W, 3 * HEADS * PITCH), factor_q and factor_k are (heads, N, COLUMNS) or None, gate (B, H, W, C) or
    None. Writes out (B, H, W, C) and, unless None, the result before the gate, attended (B, H, W, C), and the
    log-sum-exp of the logits to base 2, lse (windows, heads, N), where the query is no padding.
    """
    N: tl.constexpr = WINDOW * WINDOW
    C: tl.constexpr = HEADS * D
    PART: tl.constexpr = HEADS * PITCH  # channels of q, of k and of v
    BLOCKS: tl.constexpr = (N + BLOCK_M - 1) // BLOCK_M

    program = tl.program_id(0)  # neighbouring programs share keys
    first = program % BLOCKS * BLOCK_M
    head = program // BLOCKS % HEADS
    window = program // (BLOCKS * HEADS)
    image, top, left = window_corner(window, rows, columns, WINDOW)

    token, exists, count = query_tokens(first, top, left, height, width, rows, columns, WINDOW, SHIFT, BLOCK_M)
    if first >= count:
        return

    image_start = image.to(tl.int64) * height * width
    qkv += image_start * (3 * PART) + head * PITCH
    y, x = token_places(token, top, left, rows, columns, WINDOW, SHIFT)
    query = (y * width + x).to(INDEX)  # pixel of each query in its image
    q = load_channels(qkv, query, 3 * PART, PITCH, LANES).to(DTYPE)  # (BLOCK_M, LANES)
    if SPARE:
        q = with_factor(q, factor_q + head * (N * COLUMNS), token, D, LANES, RANK_LANES, COLUMNS)
    if RANK_LANES > 0:
        q_rank = load_factor(factor_q + head * (N * COLUMNS), token, RANK_LANES, COLUMNS)  # (BLOCK_M, RANK_LANES)

    maximum = tl.full([BLOCK_M], float('-inf'), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    result = tl.zeros([BLOCK_M, LANES], tl.float32)
    for start in range(0, N, BLOCK_N):
        number = start + tl.arange(0, BLOCK_N)
        key_token = tl.minimum(number, N - 1)
        key = source_pixels(key_token, top, left, height, width, rows, columns, WINDOW, SHIFT, PERIODIC, INDEX)
        k = load_channels(qkv + PART, key, 3 * PART, PITCH, LANES).to(DTYPE)  # (BLOCK_N, LANES)
        v = load_channels(qkv + 2 * PART, key, 3 * PART, PITCH, LANES).to(DTYPE)
        if SPARE:
            k = with_factor(k, factor_k + head * (N * COLUMNS), key_token, D, LANES, RANK_LANES, COLUMNS)
        logits = tl.dot(q, tl.trans(k), input_precision='ieee')  # (BLOCK_M, BLOCK_N)
        if RANK_LANES > 0:
            k_rank = load_factor(factor_k + head * (N * COLUMNS), key_token, RANK_LANES, COLUMNS)
            logits = tl.dot(q_rank, tl.trans(k_rank), logits, input_precision='ieee')
        if N % BLOCK_N != 0:
            logits = tl.where((number < N)[None, :], logits, float('-inf'))
        higher = tl.maximum(maximum, tl.max(logits, 1) * SCALE)
        weights = tl.math.exp2(logits * SCALE - higher[:, None])
        rescale = tl.math.exp2(maximum - higher)
        total = total * rescale + tl.sum(weights, 1)
        result = tl.dot(weights.to(DTYPE), v, result * rescale[:, None], input_precision='ieee')
        maximum = higher

    lane = tl.arange(0, LANES)[None, :]
    stored = exists[:, None] & (lane < D)
    place = image_start * C + head * D + query[:, None] * C + lane
    result = result / total[:, None]
    if attended is not None:
        tl.store(attended + place, result, mask=stored)
    if lse is not None:
        lse += (tl.cast(window, tl.int64) * HEADS + head) * N
        tl.store(lse + token, maximum + tl.math.log2(total), mask=exists)
    if gate is not None:
        result *= tl.load(gate + place, mask=stored, other=0.0)
    tl.store(out + place, result, mask=stored)
