"""Launches the kernels of `scan.py`, which are imported when they first run: this loads where Triton is missing.

They passed their tests on an H200; how fast they are was not measured.
"""

import torch
from torch import Tensor

from sst.ops.kernels.layout import power_of_two

STEPS = 128  # of a chunk: with more, a small image occupies too little of a GPU; with fewer, states take more memory
CHANNELS = 32  # of a program, which is one warp: a channel's states lie in one thread, so that no sum crosses threads
MOST_STATES = 64  # of a channel: a program's states are held in registers


def scan_forward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: int | None = None
) -> tuple[Tensor, Tensor]:
    """As `selective_scan.chunked_scan`, for float32."""
    from sst.ops.kernels.scan import carry_kernel, chunk_kernel

    batch, groups, length, channels = u.shape
    states = a.shape[2]
    chunks = chunks or -(-length // STEPS)
    u, delta, b, c = (x.contiguous() for x in (u, delta, b, c))
    a = a.transpose(1, 2).contiguous()
    y = torch.empty_like(u)
    starts = u.new_empty(batch, groups, chunks, states, channels)
    sums = u.new_empty(batch, groups, chunks, channels)
    sizes = (length, chunks, -(-length // chunks))
    constants = {
        'G': groups,
        'E': channels,
        'N': states,
        'BLOCK_E': min(CHANNELS, power_of_two(channels)),
        'BLOCK_N': power_of_two(states),
        'num_warps': 1,
        'enable_fp_fusion': True,
    }
    blocks = -(-channels // constants['BLOCK_E'])
    of_chunks, of_sequences = (batch * groups * chunks * blocks,), (batch * groups * blocks,)
    with torch.cuda.device_of(u):
        chunk_kernel[of_chunks](u, delta, a, b, c, starts, sums, y, *sizes, EMIT=False, **constants)
        carry_kernel[of_sequences](a, starts, sums, chunks, **constants)
        chunk_kernel[of_chunks](u, delta, a, b, c, starts, sums, y, *sizes, EMIT=True, **constants)
    return y, starts
