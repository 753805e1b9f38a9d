"""`imports`: Python files and modules of the user that register parts, loaded before options are checked.

This runs code. So the names come only from an option file or a command line that a person started, never from a
weights file, a hub repository or a web request.
"""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from sst.utils.errors import UserError


def load_parts(names: Iterable[str], beside: str | os.PathLike = '.') -> list[str]:
    """Import modules, each once per process.

    Args:
        names (Iterable[str]): Python files, such as my_parts.py, or modules, such as my_package.parts.
        beside (str | PathLike): the folder in which they are looked for before the working directory.

    Returns:
        list[str]: the names, those of files as absolute paths, so that they hold in any folder.

    Raises:
        UserError: in one line: there is no such file or module, its name is taken, or it fails.
    """
    return [_load(name, [Path(beside).resolve(), Path.cwd()]) for name in names]


def _load(name: str, folders: list[Path]) -> str:
    file = None
    module = name
    if name.endswith('.py'):
        file = next((place for folder in folders if (place := folder / name).is_file()), None)
        if file is None:
            raise UserError(f'imports: {name}: no such file in {" or ".join(map(str, dict.fromkeys(folders)))}')
        folders, module = [file.parent], file.stem
    # The folders stay on the path: processes that load data look there, too.
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]
    try:
        loaded = import_module(module)
    except Exception as fault:
        raise UserError(f'imports: {file or name}: {_reason(fault, file)}') from fault
    found = getattr(loaded, '__file__', None)
    if file and (found is None or Path(found).resolve() != file.resolve()):
        raise UserError(
            f'imports: {file}: another module is called {module}, too ({found or "built into Python"}); rename the file'
        )
    return str(file) if file else name


def _reason(fault: Exception, file: Path | None) -> str:
    """What went wrong, and in which line of the file."""
    said = ' '.join(str(fault).split())
    line = getattr(fault, 'lineno', None)
    trace = fault.__traceback__
    while trace and not line:
        line = trace.tb_lineno if file and trace.tb_frame.f_code.co_filename == str(file) else None
        trace = trace.tb_next
    return f'{f"line {line}: " if line else ""}{type(fault).__name__}: {said}'
