"""Errors that a user can mend."""


class UserError(Exception):
    """Something the user must change. Its text is the whole message, one line per fault.

    Entry points print it as `error: <line>` on stderr, without a stack trace, and exit with code 2.
    """


class SharedError(UserError):
    """A `UserError` that every process raises alike, so that one of them prints it for all."""
