"""What other systems than Linux lack: signals, file locks, opening a file without following links."""

import os
import signal
from types import SimpleNamespace

try:
    import fcntl
except ImportError:  # on Windows nothing is locked
    unlocked = {'flock': lambda *_: None, 'lockf': lambda *_: None, 'LOCK_EX': 0, 'LOCK_NB': 0}
    fcntl = SimpleNamespace(**unlocked)  # type: ignore[assignment]

HAS_LOCKS = hasattr(fcntl, 'LOCK_UN')
NO_LINK = getattr(os, 'O_NOFOLLOW', 0)  # flag of os.open that refuses a link

__all__ = ['HAS_LOCKS', 'NO_LINK', 'existing_signals', 'fcntl']


def existing_signals(*names: str) -> tuple[signal.Signals, ...]:
    """Those of the named signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))
