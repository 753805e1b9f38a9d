"""Parts of somebody's own: modules that register networks, losses and the like when they are imported."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from sst.utils.errors import UserError


def load_parts(names: Sequence[str], beside: Path | None = None) -> None:
    """Import modules, each once per process. This runs their code: take names only from the person at the keyboard.

    Args:
        names (Sequence[str]): `.py` files or dotted names of modules.
        beside (Path | None): the folder that files are relative to; the working directory if they are not there.

    Raises:
        UserError: a module that is not there or cannot be imported, in one line.
    """
    for name in names:
        try:
            _load(name, beside)
        except Exception as fault:  # somebody's module raises anything
            reason = ' '.join(str(fault).split()) or type(fault).__name__
            raise UserError(f'imports: {name}: cannot be imported: {reason}') from fault


def _load(name: str, beside: Path | None) -> None:
    if not name.endswith('.py'):
        importlib.import_module(name)
        return
    places = [folder / Path(name).expanduser() for folder in (beside, Path.cwd()) if folder]
    path = next((place for place in places if place.is_file()), places[-1]).resolve()
    module_name = f'sst_parts:{path}'
    if module_name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    logging.getLogger('basicsr').info(f'Imported {path}')
