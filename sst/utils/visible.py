"""Other people's text, such as file names and metadata, made safe to print."""

import sys
import unicodedata
from contextlib import suppress

# Control characters, invisible ones (among them those that turn the direction of text), bytes that are no text, and
# separators of lines and paragraphs.
_HIDDEN = {'Cc', 'Cf', 'Cs', 'Zl', 'Zp'}


def visible(text: object) -> str:
    r"""The text in one line, with what a terminal would obey or hide shown as its number: `\n`, `\x1b`, `\u202e`."""
    return ''.join(
        character.encode('unicode_escape').decode() if unicodedata.category(character) in _HIDDEN else character
        for character in str(text)
    )


def tell(text: object) -> None:
    """Print one line to stderr, made safe by `visible`. A closed terminal is ignored."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr)
