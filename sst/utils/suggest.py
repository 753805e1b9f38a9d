"""Nearest names for what was misspelt."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """The end of an error line, `; did you mean "x"?`, or '' where nothing allowed is near."""
    by_folded = {name.casefold(): name for name in allowed}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return f'; did you mean "{by_folded[near[0]]}"?' if near else ''
