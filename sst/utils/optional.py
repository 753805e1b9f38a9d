"""Packages that SST can do without. It imports even where one is missing, broken or something else of that name."""

import sys
from importlib import import_module

from sst.utils.errors import UserError, reason_of

MISSING = 'is not installed'
_hidden: dict[str, str] = {}  # why packages were hidden, by name


def why_not(name: str, attribute: str) -> str:
    """Why an optional package cannot be used, as `is not installed`; '' where it can.

    Args:
        name (str): the module to import.
        attribute (str): what SST needs of it. A folder or another package of the same name does not have it.
    """
    if name in _hidden:
        return _hidden[name]
    module = None
    try:
        module = import_module(name)
        getattr(module, attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # a package raises anything while it is imported, SystemExit too
        if isinstance(fault, ModuleNotFoundError) and fault.name in (name, name.partition('.')[0]):
            return MISSING
        if module is not None and getattr(module, '__file__', None) is None:
            return f'{MISSING} ({", ".join(module.__path__)} is something else of that name)'
        return f'is installed, but does not work ({type(fault).__name__}: {reason_of(fault)})'
    return ''


def hide_unusable(name: str, attribute: str) -> None:
    """Have Python say that an optional package is not installed, where it is but cannot be used.

    Torch and tifffile look for some packages themselves and expect no other error.
    """
    if (reason := why_not(name, attribute)) not in ('', MISSING):
        _hidden[name] = reason
        sys.modules[name] = None  # type: ignore[assignment]  # the import system then says that there is none


def require(name: str, attribute: str, extra: str, purpose: str, instead: str = '') -> None:
    """Raise `UserError` where an optional package cannot be used.

    Args:
        name, attribute (str): as for `why_not`.
        extra (str): the extra of our package that brings it.
        purpose (str): what needs it, the subject of the sentence.
        instead (str): what else can be done, the end of the sentence.
    """
    if reason := why_not(name, attribute):
        package = name.partition('.')[0]
        remove = '' if reason.startswith(MISSING) else f'pip uninstall {package}; '
        raise UserError(
            f"{purpose} needs {package}, which {reason}; run: {remove}pip install 'sst-sr[{extra}]'{instead}"
        )
