"""What a compiled kernel is made of: registers, spills, and the instructions of its inner loop."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EXPONENTIAL = 'MUFU.EX2'
INSTRUCTION = re.compile(r'/\*([0-9a-f]{4,})\*/\s+(.*?);')  # address, text
LOAD = re.compile(r'\bLDG(STS)?\b[\w.]*')
JUMP = re.compile(r'\bBRA\b.* 0x([0-9a-f]+)')
SCHEDULERS = 4  # of a multiprocessor, with an instruction of a warp per clock each
EXPONENTIALS_PER_CLOCK = 16  # of a multiprocessor


@dataclass(frozen=True)
class Loop:
    """The innermost loop that computes exponentials: instructions of a thread in one step."""

    instructions: int
    exponentials: int
    loads: int  # from global memory
    narrow: int  # of them, those of at most 4 bytes

    def slots(self, logits: int, warps: int) -> float:
        """Time to issue a step's instructions, in times of its exponentials: below 1 the exponentials are the limit.

        Args:
            logits (int): that a program computes in one step.
            warps (int): of a program.
        """
        return (self.instructions * warps / SCHEDULERS) / (logits / EXPONENTIALS_PER_CLOCK)


def registers_and_stack(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack per thread, the latter being registers spilled: the kernels have no arrays."""
    text = _dump(cubin, '--dump-resource-usage')
    found = re.search(r'REG:(\d+) STACK:(\d+)', text)
    assert found, text
    return int(found[1]), int(found[2])


def inner_loop(cubin: bytes) -> Loop | None:
    """The shortest loop with exponentials; None where there is none, as in a window of one step."""
    code = {int(address, 16): text for address, text in INSTRUCTION.findall(_dump(cubin, '--dump-sass'))}
    bodies = [[text for at, text in code.items() if first <= at <= last] for first, last in _loops(code)]
    loops = [_counted(body) for body in bodies]
    return min((loop for loop in loops if loop.exponentials), key=lambda loop: loop.instructions, default=None)


def _counted(body: list[str]) -> Loop:
    loads = [found[0] for found in map(LOAD.search, body) if found]
    narrow = sum(not load.endswith(('.64', '.128')) for load in loads)
    return Loop(len(body), sum(EXPONENTIAL in text for text in body), len(loads), narrow)


def _loops(code: dict[int, str]) -> Iterator[tuple[int, int]]:
    """First and last addresses: a jump back closes a loop."""
    for address, text in code.items():
        jump = JUMP.search(text)
        if jump and int(jump[1], 16) < address:
            yield int(jump[1], 16), address


def _dump(cubin: bytes, what: str) -> str:
    import triton

    program = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([str(program), what, file.name], capture_output=True, text=True, check=True).stdout
