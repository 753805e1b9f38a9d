"""Memory that is freed stays with the process where it is asked for, in programs always."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Prints the page faults, in MB, of taking 64 MB for the third time: in this process and in a child.
FAULTS = """
import os, resource
def take():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() >> 20
take(), take()
print(take(), flush=True)
if not os.fork():
    print(len([take() for _ in range(3)]) and take(), flush=True)
    os._exit(0)
os.wait()
"""
ON_REQUEST = 'import sst; print(sst.keep_memory())' + FAULTS
AS_PROGRAM = 'import sys; sys.argv = ["sst-upscale"]; import sst; print("-")' + FAULTS
UNASKED = 'import sst; print("-")' + FAULTS


def run(code, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_'))}
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True
    )
    said, *faults = done.stdout.split()
    return said, [int(number) for number in faults]


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='elsewhere nothing is changed')
@pytest.mark.parametrize(
    ('code', 'environment', 'said', 'kept'),
    [
        (ON_REQUEST, {}, 'True', True),
        (AS_PROGRAM, {}, '-', True),
        (UNASKED, {}, '-', False),
        (ON_REQUEST, {'MALLOC_MMAP_THRESHOLD_': '65536'}, 'False', False),
        (AS_PROGRAM, {'GLIBC_TUNABLES': 'glibc.malloc.mmap_threshold=65536'}, '-', False),
    ],
    ids=['on request', 'program', 'unasked', 'set by the user', 'tuned by the user'],
)
def test_freed_memory_is_used_again(code, environment, said, kept):
    told, faults = run(code, **environment)
    assert told == said
    assert len(faults) == 2
    assert all(megabytes < 8 if kept else megabytes > 56 for megabytes in faults)


def test_other_systems_are_left_alone(monkeypatch):
    from sst.utils import allocator

    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert allocator.keep_memory() is False
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(allocator.ctypes, 'CDLL', lambda name: object())  # musl has none of glibc's functions
    assert allocator.keep_memory() is False
