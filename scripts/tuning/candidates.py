"""What a sweep goes through, and what it leaves out before anything is timed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from sst.ops.kernels.configurations import KERNELS, Configuration
from tuning.compiling import Build, Layer

THREADS = 32  # of a warp
SUMS = 160  # of the 255 registers of a thread; the others hold operands and addresses
STEEPEST = 2  # tokens of a gradient kernel's step by those of its program: beyond, heads of 32 spill
LEAST_TILE = 256  # logits per warp at a time: one product of 16 x 16
FULL_MEMORY, SMALL_MEMORY = 227 * 1024, 99 * 1024
# Shared memory that a program can have, by compute capability; others are taken for small ones.
SHARED_MEMORY = {80: 163 * 1024, 87: 163 * 1024, 90: FULL_MEMORY, 100: FULL_MEMORY, 103: FULL_MEMORY}


@dataclass(frozen=True)
class Choices:
    """All combinations of these are candidates."""

    blocks: Sequence[int] = (32, 64, 128, 256)
    warps: Sequence[int] = (4, 8, 16)
    stages: Sequence[int] = (2, 3, 4)


def plan(layers: Sequence[Layer], kernels: Sequence[str], dtypes: Sequence[str], capability: int) -> list[Build]:
    """What to sweep, the most important first: a budget may end before the list does.

    Of layers that would share a row of the table the first stands for all. Large windows go first, and float16 in the
    forward kernel and bfloat16 in the others, as the network is tested and trained.
    """
    distinct = {(layer.layout.width, layer.head_dim, layer.window): layer for layer in reversed(layers)}
    builds = [Build(*case, capability) for case in product(kernels, dtypes, distinct.values())]

    def rank(build: Build) -> tuple[bool, int, int, int]:
        usual = build.dtype == ('float16' if build.kernel == 'forward' else 'bfloat16')
        return not usual, -build.layer.window, -build.layer.layout.width, KERNELS.index(build.kernel)

    return sorted(builds, key=rank)


def candidates(build: Build, choices: Choices) -> list[Configuration]:
    """The table's configuration, then the choices of which nothing is known that speaks against them."""
    present = build.present()
    found = dict.fromkeys([present])
    for block_m, block_n, warps, stages in product(choices.blocks, choices.blocks, choices.warps, choices.stages):
        chosen = replace(present, block_m=block_m, block_n=block_n, num_warps=warps, num_stages=stages)
        chosen = chosen.within(build.kernel, build.torch_dtype, build.layer.window)
        if worthwhile(build, chosen):
            found[chosen] = None
    return list(found)


def worthwhile(build: Build, configuration: Configuration) -> bool:
    """Whether warps have work, stages have steps to overlap, and what a thread must hold can fit."""
    own, step = configuration.block_m, configuration.block_n
    if build.kernel == 'key':
        own, step = step, own
    steps = -(-(build.layer.window**2) // step)
    return (
        own * step >= LEAST_TILE * configuration.num_warps
        and configuration.num_stages <= max(2, steps)
        and registers_of_sums(build, own, step) <= SUMS * configuration.num_warps
        and (build.kernel == 'forward' or step <= STEEPEST * own)
    )


def registers_of_sums(build: Build, own: int, step: int) -> float:
    """Registers of a thread, times the warps, that hold sums: the results of a program's `own` tokens and their logits
    with `step` others. The gradients have two tiles like logits."""
    layout = build.layer.layout
    lanes = {'forward': layout.lanes, 'query': layout.width, 'key': layout.lanes + layout.width}[build.kernel]
    tiles = 1 if build.kernel == 'forward' else 2
    return own * (lanes + tiles * step) / THREADS
