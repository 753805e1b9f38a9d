"""What the command lines of all programs have in common."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from sst.utils.visible import visible


class CommandLine(argparse.ArgumentParser):
    """A parser that answers what is wrong in one line; the usage is for `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {visible(message)}; type {self.prog} --help for all options\n')


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], Any]:
    """The type of an argument that is a number from `least` (above it, if `above`) to `most`.

    It is a whole number if `least` is an `int`.
    """
    whole = isinstance(least, int)

    def convert(text: str) -> float:
        try:
            value = int(text) if whole and text.strip().isdecimal() else math.nan if whole else float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or (above and value == least):
            kind = 'whole number' if whole else 'number'
            reach = f'above {least:g}, up to' if above else f'from {least:g} to'
            raise argparse.ArgumentTypeError(f'{text!r}: must be a {kind} {reach} {most:,}')
        return value

    return convert


def numbers(text: str) -> list[int]:
    """The type of an argument that is a list of whole numbers above 0."""
    parts = text.replace(',', ' ').split()
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f'{text!r}: must be whole numbers above 0; use commas between them: 16,32,64')
    return [int(part) for part in parts]
