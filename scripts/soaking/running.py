"""Programs that run inside this process, and what they answer."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from sst.utils.errors import UserError


@dataclass(frozen=True)
class Answer:
    """What a program has said, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def refused(self) -> bool:
        """Whether it did not do what it was asked for."""
        return self.code != 0

    def taken(self) -> str:
        """The output. Raises `UserError` if the program refused, which is one of the two good ends."""
        if self.refused:
            raise UserError(self.errors)
        return self.output


def run(main: Callable[[Sequence[str]], int | None], arguments: Sequence[str]) -> Answer:
    """Run a program. Raises AssertionError if its exit code does not go with what it says on stderr."""
    output, errors = io.StringIO(), io.StringIO()
    code: int | str | None
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
        except UserError as error:
            raise AssertionError(f'an error leaves the program: {error}') from error
    code, said = code or 0, errors.getvalue()
    require(isinstance(code, int) and code in (0, 1, 2), f'exit code {code}')
    require('Traceback' not in said, f'a stack trace: {said[-300:]}')
    told = any('error: ' in line for line in said.splitlines())
    require(told == (code != 0), f'exit code {code} with this on stderr: {said[-300:]!r}')
    return Answer(int(code), output.getvalue(), said)


def require(holds: bool, what: str) -> None:
    """Raise AssertionError if something that was promised does not hold."""
    if not holds:
        raise AssertionError(what)
