"""Modules that register something are imported by their names' endings, as BasicSR does."""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules


def import_all(package: str, path: Iterable[str], ending: str = '') -> None:
    """Import the modules of a package (its `__name__` and `__path__`) whose names have this ending, such as `_arch`."""
    for module in iter_modules(path):
        if module.name.endswith(ending):
            import_module(f'{package}.{module.name}')
