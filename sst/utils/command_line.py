"""What the command lines of all programs have in common."""

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from sst.utils.visible import visible


class CommandLine(argparse.ArgumentParser):
    """A parser that answers what is wrong in one line; the usage is for `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {visible(message)}; type {self.prog} --help for all options\n')


def number_up_to(greatest: float) -> Callable[[str], float]:
    """The type of an argument that is a number above 0."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= greatest:
            raise argparse.ArgumentTypeError(f'must be a number above 0, up to {greatest:g}, not {text!r}')
        return value

    return number


def whole_number(least: int, most: int, others: str = '') -> Callable[[str], int]:
    """The type of an argument that is a whole number; `others` says what else it may be."""

    def whole(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f'must be {others}a whole number from {least} to {most}, not {text!r}')
        return int(text)

    return whole


def whole_numbers(text: str) -> list[int]:
    """The type of an argument that is whole numbers from 1 on, with commas or blanks between."""
    return [whole_number(1, 10_000)(part) for part in text.replace(',', ' ').split() or ['']]


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what a weights file does not tell of its network."""
    parser.add_argument(
        '--network',
        metavar='FILE.yml',
        help='option file whose network_g is the network of the weights, where these do not tell: any of BasicSR',
    )
    add_imports_argument(parser)
    parser.add_argument(
        '--param-key', metavar='KEY', help='entry of the file to take, as params_ema, where several may be meant'
    )


def add_imports_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--imports',
        action='append',
        default=[],
        metavar='FILE.py',
        help='module that registers parts of your own, a file or a dotted name; its code runs; may be repeated',
    )
