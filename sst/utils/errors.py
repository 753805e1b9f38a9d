"""Errors that a user can correct, and how programs end with them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sst.utils.visible import visible


class UserError(Exception):
    """Something the user must change. Its text is the whole message, one line per fault.

    Entry points print it as `error: <line>` on stderr, without a stack trace, and exit with code 2.

    Args:
        *faults (str): each fault, so that a line break in one is known to be part of a name.
    """

    def __str__(self) -> str:
        return '\n'.join(self.faults)

    @property
    def faults(self) -> list[str]:
        return [str(fault) for fault in self.args]


def reason_of(fault: BaseException) -> str:
    """What somebody else's error says, in one line; its name where it says nothing."""
    return ' '.join(str(fault).split())[:300] or type(fault).__name__


class SharedError(UserError):
    """A `UserError` that all processes raise together, so that one of them prints it for all."""


class DivergedError(SharedError):
    """The loss or the weights of a training are not finite any more. The exit code is 3."""


class Spiked(Exception):  # noqa: N818 - mended by going back, not an error
    """A loss that leapt, so that the run goes back to its last state. The text says how far it leapt."""


class Stopped(Exception):  # noqa: N818 - asked for, not an error
    """A run that a signal ended, with everything saved. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def in_one_line(interrupted: str = 'interrupted', *, single: bool = False) -> Iterator[None]:
    """End a program without a stack trace: exit code 2 for a `UserError`, 130 and `interrupted` on Ctrl-C.

    Args:
        interrupted: the text after Ctrl-C.
        single: whether each of `UserError.faults` is one line, so that a line break in it must be part of a name.
    """
    try:
        yield
    except UserError as error:
        faults = error.faults if single else str(error).split('\n')
        print('\n'.join(f'error: {visible(line)}' for line in faults), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)
