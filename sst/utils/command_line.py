"""What the command lines of all programs have in common."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import dropwhile
from typing import Any, NoReturn

from sst.utils.suggest import nearest
from sst.utils.visible import visible


class CommandLine(argparse.ArgumentParser):
    """A parser that answers what is wrong in one line, and what to type instead; the usage is for `--help`."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and refuse what is unknown here, where the options of a subcommand are known."""
        self._given = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f'unrecognized arguments: {" ".join(unknown)}')
        return found, unknown

    def error(self, message: str) -> NoReturn:
        hints = list(self._hints()) or [f'type {self.prog} --help for all options']
        self.exit(2, f'error: {visible("; ".join([message, *hints]))}\n')

    def _hints(self) -> Iterator[str]:
        """What may have been meant by misspelt options, and by a word where an option is required."""
        known = self._option_string_actions
        for name in (word.partition('=')[0] for word in self._given if word.startswith('-')):
            understood = name in known or (self.allow_abbrev and any(option.startswith(name) for option in known))
            if not understood and (near := nearest(name, known)):
                yield f'did you mean {near}?'
        flags = [name for name, action in known.items() if action.nargs == 0]
        word = next(dropwhile(flags.__contains__, self._given), '-')
        required = [action.option_strings[0] for action in self._actions if action.required and action.option_strings]
        lone = len(required) == 1 and not self._get_positional_actions()
        if lone and not word.startswith('-') and required[0] not in self._given:
            yield f'name it with {required[0]}: {required[0]} {word}'


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


def add_force_yml_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--force_yml',
        '--force-yml',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY:KEY=VALUE',
        help='change options, as train:ema_decay=0.99 val:save_img=true',
    )


def add_imports_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--imports',
        action='append',
        default=[],
        metavar='FILE.py',
        help='module that registers parts of your own, a file or a dotted name; its code runs; may be repeated',
    )
