"""Compiles attention.cpp once for this processor and keeps the library in the user's cache."""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from sst.utils.files import user_cache

SOURCE = Path(__file__).with_name('attention.cpp')
SOURCES = SOURCE, SOURCE.with_name('tiles.h')
FLAGS = ('-std=c++17', '-O3', '-fPIC', '-shared')
FOR_THIS_PROCESSOR = (('-march=native',), ('-mcpu=native',), ())  # the first that the compiler accepts is used

logger = logging.getLogger('basicsr')


@torch.compiler.assume_constant_result  # torch.compile cannot trace this call
def why_not() -> str | None:
    """Why there is no library; None if there is one."""
    found = _library()
    return found if isinstance(found, str) else None


def library() -> ctypes.CDLL:
    """The compiled attention.cpp. Raises RuntimeError if `why_not()` gives a reason."""
    found = _library()
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


@cache
def _library() -> ctypes.CDLL | str:
    """The library, or the reason why there is none."""
    compiler = os.environ.get('CXX', '').strip() or next(filter(shutil.which, ('g++', 'clang++', 'c++')), None)
    if compiler is None or not shutil.which(compiler.split()[0]):
        given = f', not {compiler!r}' if compiler else ''
        return f'it needs a C++ compiler (apt install g++, or name one in CXX{given})'
    try:
        path = user_cache() / f'attention_{_fingerprint(compiler)}.so'
        if not _is_whole(path):
            _compile(compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError) as error:  # RuntimeError if the home folder is not known
        return f'its library cannot be written or loaded ({error})'
    except subprocess.SubprocessError as error:
        return f'{compiler} cannot compile it ({error})'


def _is_whole(path: Path) -> bool:
    """Whether the library is complete. A damaged one would end the process that loads it."""
    checksum = path.with_suffix('.sha256')
    return path.exists() and checksum.exists() and checksum.read_text() == _checksum(path)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fingerprint(compiler: str) -> str:
    """A hash of all that the library depends on. Machines with different processors may share a home folder."""
    parts = [
        *(source.read_text(encoding='utf-8') for source in SOURCES),
        compiler,
        *FLAGS,
        platform.machine(),
        platform.processor(),
    ]
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding='utf-8', errors='replace').split('\n\n')[0].splitlines()
        parts += [line for line in lines if line.startswith(('model name', 'flags', 'Features', 'CPU part'))]
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def _compile(compiler: str, path: Path) -> None:
    """Write the complete library to `path`, or nothing. Raises OSError and SubprocessError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info(f'Compiling window attention for this CPU, once: {path}')
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder) / path.name
        for flags in FOR_THIS_PROCESSOR:
            command = [*compiler.split(), *FLAGS, *flags, str(SOURCE), '-o', str(new)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode == 0 and new.exists():
                checksum = new.with_suffix('.sha256')
                checksum.write_text(_checksum(new))
                os.replace(new, path)
                os.replace(checksum, path.with_suffix('.sha256'))
                return
    raise subprocess.SubprocessError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no reason given')
