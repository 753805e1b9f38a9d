"""The selective scan's three passes in Triton. States live in registers; positions are read once for each pass.

u, delta and y are (sequences, L, E), b and c (sequences, L, N), a is (groups, N, E), states are (sequences, m, N, E).
Sequence s belongs to group s % G. Everything is float32.
"""

import triton
import triton.language as tl


@triton.jit
def load_decays(a, group, lane, state, E: tl.constexpr, N: tl.constexpr):
    """A of one group, zero beyond its channels and states: (BLOCK_N, BLOCK_E)."""
    mask = (state < N)[:, None] & (lane < E)[None, :]
    return tl.load(a + (group * N + state[:, None]) * E + lane[None, :], mask=mask, other=0.0)


@triton.jit(do_not_specialize=['length', 'chunks', 'steps'])  # one build serves images of any size
def chunk_kernel(
    u, delta, a, b, c, states, sums, y,
    length, chunks, steps,
    G: tl.constexpr, E: tl.constexpr, N: tl.constexpr, EMIT: tl.constexpr, BLOCK_E: tl.constexpr,
    BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: `steps` positions of a chunk for BLOCK_E channels.

    Without EMIT from zero, and it writes the last state and the sum of delta (sequences, m, E). With EMIT from the
    state in `states`, and it writes y.
    """
    blocks: tl.constexpr = (E + BLOCK_E - 1) // BLOCK_E
    program = tl.program_id(0).to(tl.int64)
    chunk_of_all = program // blocks  # sequence * chunks + chunk
    sequence = chunk_of_all // chunks
    lane = (program % blocks) * BLOCK_E + tl.arange(0, BLOCK_E)
    state = tl.arange(0, BLOCK_N)
    exists = lane < E
    decay = load_decays(a, sequence % G, lane, state, E, N)
    place = states + (chunk_of_all * N + state[:, None]) * E + lane[None, :]
    mask = (state < N)[:, None] & exists[None, :]
    h = tl.zeros((BLOCK_N, BLOCK_E), tl.float32)
    if EMIT:
        h = tl.load(place, mask=mask, other=0.0)
    total = tl.zeros((BLOCK_E,), tl.float32)
    first = (chunk_of_all % chunks) * steps
    for t in range(first, tl.minimum(first + steps, length)):
        row = sequence * length + t
        step = tl.load(delta + row * E + lane, mask=exists, other=0.0)
        added = step * tl.load(u + row * E + lane, mask=exists, other=0.0)
        weight = tl.load(b + row * N + state, mask=state < N, other=0.0)
        h = tl.exp(step[None, :] * decay) * h + added[None, :] * weight[:, None]
        if EMIT:
            weight = tl.load(c + row * N + state, mask=state < N, other=0.0)
            tl.store(y + row * E + lane, tl.sum(h * weight[:, None], axis=0), mask=exists)
        else:
            total += step
    if not EMIT:
        tl.store(place, h, mask=mask)
        tl.store(sums + chunk_of_all * E + lane, total, mask=exists)


@triton.jit(do_not_specialize=['chunks'])
def carry_kernel(
    a, states, sums,
    chunks,
    G: tl.constexpr, E: tl.constexpr, N: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One program: all chunks of a sequence for BLOCK_E channels; the last states become those at the starts."""
    blocks: tl.constexpr = (E + BLOCK_E - 1) // BLOCK_E
    program = tl.program_id(0).to(tl.int64)
    sequence = program // blocks
    lane = (program % blocks) * BLOCK_E + tl.arange(0, BLOCK_E)
    state = tl.arange(0, BLOCK_N)
    mask = (state < N)[:, None] & (lane < E)[None, :]
    decay = load_decays(a, sequence % G, lane, state, E, N)
    carried = tl.zeros((BLOCK_N, BLOCK_E), tl.float32)
    for chunk in range(chunks):
        place = states + ((sequence * chunks + chunk) * N + state[:, None]) * E + lane[None, :]
        made = tl.load(place, mask=mask, other=0.0)
        total = tl.load(sums + (sequence * chunks + chunk) * E + lane, mask=lane < E, other=0.0)
        tl.store(place, carried, mask=mask)
        carried = tl.exp(total[None, :] * decay) * carried + made
