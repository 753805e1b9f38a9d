"""Gradients of attention in windows. The attention weights P are computed again from the saved log-sum-exp.

For logits S = q k^T / sqrt(d) + t_q t_k^T, weights P = softmax(S), O = P v, dO the gradient of the result times gate:
    dS = P * (dO v^T - rowsum(dO * O)),  dv = P^T dO,  dq = dS k / sqrt(d),  dk = dS^T q / sqrt(d),
    dt_q = dS t_k and dt_k = dS^T t_q, summed over all windows.
dS is about 1 / N, too little for float16, so it is computed RANGE times as large, a power of two that is taken out of
the sums. A program keeps its rows of dt_q or dt_k while it goes through its share of the windows; the shares are added
afterwards. Gradients of q, k and v are written to the padded map, each place by one program; those of reflected copies
of a pixel are added afterwards. The log-sum-exp is infinite for queries that are padding, so their weights are 0. Like
delta, it lies in the order of windows, because the key kernel reads it for many queries at a time. There are no atomic
additions, so every run gives the same bits, except on maps smaller than a window.
"""

import triton
import triton.language as tl

from sst.ops.kernels.tiles import (
    load_channels,
    load_factor,
    source_pixels,
    token_places,
    window_corner,
    with_factor,
)

LN2 = tl.constexpr(0.6931471805599453)
SIZES = ['height', 'width', 'rows', 'columns', 'windows', 'share']  # one build serves maps of any size


@triton.jit(do_not_specialize=SIZES)
def query_kernel(
    qkv, factor_q, factor_k, gate, grad, attended, lse,
    d_result, delta, d_qkv, d_factor, d_gate,
    height, width, rows, columns, windows, share,
    SCALE: tl.constexpr, DTYPE: tl.constexpr, WINDOW: tl.constexpr, HEADS: tl.constexpr, SHIFT: tl.constexpr,
    PERIODIC: tl.constexpr, INDEX: tl.constexpr, D: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr,
    RANK_LANES: tl.constexpr, COLUMNS: tl.constexpr, SPARE: tl.constexpr, RANGE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_M queries of one head, in `share` of all windows one after the other.

    Reads grad (B, H, W, C), what the forward kernel read and its `attended` and `lse`. Writes d_qkv (B, padded H,
    padded W, 3 * HEADS * PITCH), its q part, d_factor (shares, heads, N, COLUMNS), delta = RANGE * rowsum(dO * O)
    (windows, heads, N), with a gate d_gate, and d_result, dO (B, H, W, HEADS * LANES), unless grad is that already.
    """
    N: tl.constexpr = WINDOW * WINDOW
    C: tl.constexpr = HEADS * D
    PART: tl.constexpr = HEADS * PITCH  # channels of q, of k and of v
    BLOCKS: tl.constexpr = (N + BLOCK_M - 1) // BLOCK_M

    program = tl.program_id(0)
    number = program % BLOCKS * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = number < N
    token = tl.minimum(number, N - 1)
    head = program // BLOCKS % HEADS
    first_window = program // (BLOCKS * HEADS) * share
    lane = tl.arange(0, LANES)[None, :]
    qkv += head * PITCH

    dq = tl.zeros([BLOCK_M, LANES], tl.float32)  # its spare lanes sum the factor's last channels over all windows
    if factor_q is not None:
        factor_q += head * (N * COLUMNS)
        factor_k += head * (N * COLUMNS)
    if RANK_LANES > 0:
        q_rank = load_factor(factor_q, token, RANK_LANES, COLUMNS)  # (BLOCK_M, RANK_LANES)
        dq_rank = tl.zeros([BLOCK_M, RANK_LANES], tl.float32)

    for window in range(first_window, tl.minimum(first_window + share, windows)):
        image, top, left = window_corner(window, rows, columns, WINDOW)
        image_start = image.to(tl.int64) * height * width
        y, x = token_places(token, top, left, rows, columns, WINDOW, SHIFT)
        exists = inside & (y < height) & (x < width)
        query = source_pixels(token, top, left, height, width, rows, columns, WINDOW, SHIFT, PERIODIC, INDEX)
        q = load_channels(qkv + image_start * (3 * PART), query, 3 * PART, PITCH, LANES).to(DTYPE)
        if SPARE:  # q is (BLOCK_M, LANES)
            q = with_factor(q, factor_q, token, D, LANES, RANK_LANES, COLUMNS)

        place = image_start * C + head * D + query[:, None] * C + lane
        stored = exists[:, None] & (lane < D)
        d_out = tl.load(grad + place, mask=stored, other=0.0).to(tl.float32)
        before_gate = tl.load(attended + place, mask=stored, other=0.0).to(tl.float32)
        if gate is not None:
            tl.store(d_gate + place, d_out * before_gate, mask=stored)
            d_out *= tl.load(gate + place, mask=stored, other=0.0)
        if gate is not None or D != LANES:
            d_out_start = d_result + image_start * (HEADS * LANES) + head * LANES
            tl.store(d_out_start + query[:, None] * (HEADS * LANES) + lane, d_out, mask=exists[:, None])
        row_sum = tl.sum(d_out * before_gate, 1) * RANGE
        row = (tl.cast(window, tl.int64) * HEADS + head) * N + token
        tl.store(delta + row, row_sum, mask=inside)
        row_lse = tl.load(lse + row)
        d_out_tile = d_out.to(DTYPE)

        for start in range(0, N, BLOCK_N):
            key_number = start + tl.arange(0, BLOCK_N)
            key_token = tl.minimum(key_number, N - 1)
            key = source_pixels(key_token, top, left, height, width, rows, columns, WINDOW, SHIFT, PERIODIC, INDEX)
            key_channels = qkv + image_start * (3 * PART) + PART
            k = load_channels(key_channels, key, 3 * PART, PITCH, LANES).to(DTYPE)  # (BLOCK_N, LANES)
            v = load_channels(key_channels + PART, key, 3 * PART, PITCH, LANES).to(DTYPE)
            if SPARE:
                k = with_factor(k, factor_k, key_token, D, LANES, RANK_LANES, COLUMNS)
            logits = tl.dot(q, tl.trans(k), input_precision='ieee')  # (BLOCK_M, BLOCK_N)
            if RANK_LANES > 0:
                k_rank = load_factor(factor_k, key_token, RANK_LANES, COLUMNS)
                logits = tl.dot(q_rank, tl.trans(k_rank), logits, input_precision='ieee')
            weights = tl.math.exp2(logits * SCALE - row_lse[:, None])
            if N % BLOCK_N != 0:
                weights = tl.where((key_number < N)[None, :], weights, 0.0)
            d_weights = tl.dot(d_out_tile, tl.trans(v), input_precision='ieee')
            d_logits = (weights * (d_weights * RANGE - row_sum[:, None])).to(DTYPE)
            dq = tl.dot(d_logits, k, dq, input_precision='ieee')
            if RANK_LANES > 0:
                dq_rank = tl.dot(d_logits, k_rank, dq_rank, input_precision='ieee')

        padded = ((image * (rows * WINDOW) + y).to(tl.int64) * (columns * WINDOW) + x) * (3 * PART)
        stored = inside[:, None] & (lane < PITCH)
        d_q = tl.where(lane < D, dq * (SCALE * LN2 / RANGE), 0.0)  # SCALE * LN2 is 1 / sqrt(d)
        tl.store(d_qkv + head * PITCH + padded[:, None] + lane, d_q, mask=stored)
        dq = tl.where(lane < D, 0.0, dq)

    d_factor += (program // BLOCKS) * (N * COLUMNS) + token[:, None] * COLUMNS
    if SPARE:
        tl.store(d_factor + (COLUMNS - LANES) + lane, dq / RANGE, mask=inside[:, None] & (lane >= D))
    if RANK_LANES > 0:
        tl.store(d_factor + tl.arange(0, RANK_LANES)[None, :], dq_rank / RANGE, mask=inside[:, None])


@triton.jit(do_not_specialize=SIZES)
def key_kernel(
    qkv, factor_q, factor_k, d_result, lse, delta,
    d_qkv, d_factor,
    height, width, rows, columns, windows, share,
    SCALE: tl.constexpr, DTYPE: tl.constexpr, WINDOW: tl.constexpr, HEADS: tl.constexpr, SHIFT: tl.constexpr,
    PERIODIC: tl.constexpr, INDEX: tl.constexpr, D: tl.constexpr, PITCH: tl.constexpr, LANES: tl.constexpr,
    RANK_LANES: tl.constexpr, COLUMNS: tl.constexpr, SPARE: tl.constexpr, RANGE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK_N keys of one head, in `share` of all windows one after the other.

    It runs after `query_kernel` and writes the k and v parts of d_qkv and,
    for the keys' factor, d_factor (shares, heads, N, COLUMNS).
    """
    N: tl.constexpr = WINDOW * WINDOW
    PART: tl.constexpr = HEADS * PITCH  # channels of q, of k and of v
    BLOCKS: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N

    program = tl.program_id(0)
    number = program % BLOCKS * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = number < N
    token = tl.minimum(number, N - 1)
    head = program // BLOCKS % HEADS
    first_window = program // (BLOCKS * HEADS) * share
    lane = tl.arange(0, LANES)[None, :]
    qkv += head * PITCH

    dk = tl.zeros([BLOCK_N, LANES], tl.float32)  # its spare lanes sum the factor's last channels over all windows
    if factor_q is not None:
        factor_q += head * (N * COLUMNS)
        factor_k += head * (N * COLUMNS)
    if RANK_LANES > 0:
        k_rank = load_factor(factor_k, token, RANK_LANES, COLUMNS)  # (BLOCK_N, RANK_LANES)
        dk_rank = tl.zeros([BLOCK_N, RANK_LANES], tl.float32)

    for window in range(first_window, tl.minimum(first_window + share, windows)):
        image, top, left = window_corner(window, rows, columns, WINDOW)
        image_start = image.to(tl.int64) * height * width
        key = source_pixels(token, top, left, height, width, rows, columns, WINDOW, SHIFT, PERIODIC, INDEX)
        key_channels = qkv + image_start * (3 * PART) + PART
        k = load_channels(key_channels, key, 3 * PART, PITCH, LANES).to(DTYPE)  # (BLOCK_N, LANES)
        v = load_channels(key_channels + PART, key, 3 * PART, PITCH, LANES).to(DTYPE)
        if SPARE:
            k = with_factor(k, factor_k, token, D, LANES, RANK_LANES, COLUMNS)
        dv = tl.zeros([BLOCK_N, LANES], tl.float32)
        row_start = (tl.cast(window, tl.int64) * HEADS + head) * N

        for start in range(0, N, BLOCK_M):
            query_number = start + tl.arange(0, BLOCK_M)
            query_token = tl.minimum(query_number, N - 1)
            query = source_pixels(query_token, top, left, height, width, rows, columns, WINDOW, SHIFT, PERIODIC, INDEX)
            q = load_channels(qkv + image_start * (3 * PART), query, 3 * PART, PITCH, LANES).to(DTYPE)
            if SPARE:  # q is (BLOCK_M, LANES)
                q = with_factor(q, factor_q, query_token, D, LANES, RANK_LANES, COLUMNS)
            d_out_start = d_result + image_start * (HEADS * LANES) + head * LANES
            d_out = load_channels(d_out_start, query, HEADS * LANES, LANES, LANES).to(DTYPE)
            if N % BLOCK_M == 0:
                row_lse = tl.load(lse + row_start + query_number)
                row_sum = tl.load(delta + row_start + query_number)
            else:
                row_lse = tl.load(lse + row_start + query_number, mask=query_number < N, other=float('inf'))
                row_sum = tl.load(delta + row_start + query_number, mask=query_number < N, other=0.0)
            logits = tl.dot(k, tl.trans(q), input_precision='ieee')  # (BLOCK_N, BLOCK_M), as all below
            if RANK_LANES > 0:
                q_rank = load_factor(factor_q, query_token, RANK_LANES, COLUMNS)
                logits = tl.dot(k_rank, tl.trans(q_rank), logits, input_precision='ieee')
            weights = tl.math.exp2(logits * SCALE - row_lse[None, :])
            dv = tl.dot(weights.to(DTYPE), d_out, dv, input_precision='ieee')
            d_weights = tl.dot(v, tl.trans(d_out), input_precision='ieee')
            d_logits = (weights * (d_weights * RANGE - row_sum[None, :])).to(DTYPE)
            dk = tl.dot(d_logits, q, dk, input_precision='ieee')
            if RANK_LANES > 0:
                dk_rank = tl.dot(d_logits, q_rank, dk_rank, input_precision='ieee')

        y, x = token_places(token, top, left, rows, columns, WINDOW, SHIFT)
        padded = ((image * (rows * WINDOW) + y).to(tl.int64) * (columns * WINDOW) + x) * (3 * PART)
        d_keys = d_qkv + PART + head * PITCH + padded[:, None] + lane
        stored = inside[:, None] & (lane < PITCH)
        tl.store(d_keys, tl.where(lane < D, dk * (SCALE * LN2 / RANGE), 0.0), mask=stored)
        tl.store(d_keys + PART, dv, mask=stored)
        dk = tl.where(lane < D, 0.0, dk)

    d_factor += (program // BLOCKS) * (N * COLUMNS) + token[:, None] * COLUMNS
    if SPARE:
        dk *= SCALE * LN2 / RANGE  # because t_q is sqrt(d) times the term's q
        tl.store(d_factor + (COLUMNS - LANES) + lane, dk, mask=inside[:, None] & (lane >= D))
    if RANK_LANES > 0:
        tl.store(d_factor + tl.arange(0, RANK_LANES)[None, :], dk_rank * (SCALE * LN2 / RANGE), mask=inside[:, None])
