"""The nearest known name to a misspelt one."""

import difflib
from collections.abc import Iterable

NEAR = 0.75  # difflib's ratio: of eight letters six are alike and in order


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error line, `; did you mean "x"?`, or '' where no known name is near."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ''


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that somebody may have meant, of the same letters or nearly so; None if no name is near."""
    by_folded = {name.casefold(): name for name in known}
    folded = word.casefold()
    # Letters in another order weigh much in a short word, as in dmi for dim.
    near = [name for name in by_folded if sorted(name) == sorted(folded)]
    near = near or difflib.get_close_matches(folded, by_folded, n=1, cutoff=NEAR)
    return by_folded[near[0]] if near else None
