"""What the command lines of all programs have in common."""

import argparse
from typing import NoReturn

from sst.utils.visible import visible


class CommandLine(argparse.ArgumentParser):
    """A parser that answers what is wrong in one line; the usage is for `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'error: {visible(message)}; type {self.prog} --help for all options\n')
