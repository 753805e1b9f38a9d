"""Work in processes of its own, which start quickly, because they are forks of one that has imported everything."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

CRASHED = 70  # exit code of a child whose work raised


def fork(work: Callable[[], int], log: Path) -> int:
    """Start `work` in a process that leads a group of its own and writes to `log`. Return its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        with contextlib.suppress(OSError):  # so that a kill in the first moment finds the group
            os.setpgid(number, number)
        return number
    code = CRASHED
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(number: int) -> int | None:
    """The exit code of a child, negative for the signal that ended it; None while it runs."""
    found, status = os.waitpid(number, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def wait(numbers: list[int], seconds: float) -> list[int | None]:
    """The exit codes of children. Those that still run after `seconds` are killed and give None."""
    deadline = time.monotonic() + seconds
    codes: dict[int, int | None] = {}
    while len(codes) < len(numbers) and time.monotonic() < deadline:
        for number in numbers:
            if number not in codes and (code := ended(number)) is not None:
                codes[number] = code
        time.sleep(0.005)
    late = [number for number in numbers if number not in codes]
    for number in late:
        kill(number, True)
    for number in late:
        os.waitpid(number, 0)
        codes[number] = None
    return [codes[number] for number in numbers]


def kill(number: int, group: bool) -> None:
    """kill -9 a child, alone or with all processes that it has started."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(number, signal.SIGKILL)
