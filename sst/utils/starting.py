"""The first seconds of a program: an error while packages are imported is one line, too.

Needs nothing but the standard library, and is imported before everything else.
"""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sst.utils.allocator import keep_memory

# What requirements.txt names, and basicsr; then those that are imported by another name.
SAME_NAMES = (
    'addict', 'basicsr', 'filelock', 'future', 'lmdb', 'numpy', 'omegaconf', 'pydantic', 'requests', 'rich',
    'safetensors', 'scipy', 'setuptools', 'tensorboard', 'tifffile', 'torch', 'torchvision', 'tqdm', 'yapf',
)  # fmt: skip
OTHER_NAMES = {
    'PIL': 'pillow',
    'cv2': 'opencv-python-headless',
    'pyvips': 'pyvips[binary]',
    'skimage': 'scikit-image',
    'yaml': 'pyyaml',
}
PACKAGES = {name: name for name in SAME_NAMES} | OTHER_NAMES
PROGRAMS = ('train', 'test', 'upscale', 'demo', 'info')
FOLDER = Path(__file__).resolve().parents[1]  # sst/
INSTALL_BASICSR = 'sst.install_basicsr'  # the module that can do without basicsr


@contextmanager
def starting() -> Iterator[None]:
    """Imports inside end the program in one line where a package is not installed (exit code 2) or on Ctrl-C (130).

    Printing is made safe as well: characters that the terminal's encoding lacks are shown as numbers. The process also
    keeps the memory that it frees (`keep_memory`). For other programs that import sst nothing changes, except that the
    error for a missing basicsr says what to type.
    """
    if not _is_program():
        try:
            yield
        except ModuleNotFoundError as fault:
            if fault.name != 'basicsr':
                raise
            if sys.orig_argv[1:3] != ['-m', INSTALL_BASICSR]:  # this very import is on the way to it
                fault.add_note(_advice('basicsr'))
                raise
        return
    keep_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # otherwise somebody ignores it on purpose
    if plain:
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    except ModuleNotFoundError as fault:
        if fault.name not in PACKAGES:  # a fault of ours or of a package: its trace is needed
            raise
        print(f'error: {_advice(fault.name)}', file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        if plain:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _advice(module: str) -> str:
    missing = f'{PACKAGES[module]} is not installed for {sys.executable}'
    if module == 'basicsr':
        return f'{missing}; type: python -m {INSTALL_BASICSR}'
    return f'{missing}; activate the environment: source .venv/bin/activate, or install: bash scripts/install.sh'


def _is_program() -> bool:
    """Whether this process was started as a program in sst/ or by its console script."""
    started = Path(sys.argv[0])
    files = [FOLDER / f'{name}.py' for name in PROGRAMS]
    return started.stem in [f'sst-{name}' for name in PROGRAMS] or started.resolve() in files


def _leave(*_: object) -> None:
    """End at once: packages that are being imported catch a KeyboardInterrupt, numpy for one. Nothing is open yet."""
    os.write(2, b'interrupted\n')
    os._exit(130)
