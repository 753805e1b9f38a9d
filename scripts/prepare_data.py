"""Makes the datasets that the option files expect: `python scripts/prepare_data.py demo`, `... --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from prepare import demo  # after the repository is on the path
from sst.utils.errors import UserError

# A module per dataset: its docstring is the help, add_arguments() declares its options, run() makes it.
COMMANDS = {'demo': demo}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='|'.join(COMMANDS))
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=(module.__doc__ or '').splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
    args = parser.parse_args(arguments)
    try:
        COMMANDS[args.command].run(args)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
