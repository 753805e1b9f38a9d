"""Nearest names for what was misspelt."""

import difflib
from collections.abc import Iterable

NEAR = 0.75  # difflib's ratio: of eight letters six are alike and in order


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """The end of an error line, `; did you mean "x"?`, or '' where nothing allowed is near."""
    near = nearest(word, allowed)
    return f'; did you mean "{near}"?' if near else ''


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that somebody may have meant: the same letters, or nearly so; None where there is none."""
    by_folded = {name.casefold(): name for name in allowed}
    folded = word.casefold()
    # Letters in another order weigh much in a short word, as in dmi for dim.
    near = [name for name in by_folded if sorted(name) == sorted(folded)]
    near = near or difflib.get_close_matches(folded, by_folded, n=1, cutoff=NEAR)
    return by_folded[near[0]] if near else None
