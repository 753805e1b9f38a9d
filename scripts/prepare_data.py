"""Makes the datasets that option files use: `python scripts/prepare_data.py demo`, `... --help`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # before NumPy, because each core already has its own process
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

# after the repository is on the path
from prepare import check, database, demo, download, lr, meta, subimages
from sst.utils.command_line import CommandLine
from sst.utils.errors import in_one_line
from sst.utils.pixels import MEGAPIXELS, set_default_limit

# One module per command: its docstring is the help text, add_arguments() declares its options, run() does the work.
COMMANDS = {
    'download': download,
    'lr': lr,
    'subimages': subimages,
    'lmdb': database,
    'meta': meta,
    'check': check,
    'demo': demo,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='|'.join(COMMANDS))
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=(module.__doc__ or '').splitlines()[0], description=module.__doc__)
        module.add_arguments(command)
    args = parser.parse_args(arguments)
    set_default_limit(getattr(args, 'max_megapixels', MEGAPIXELS))
    with in_one_line('interrupted; run the same command again to continue'):
        COMMANDS[args.command].run(args)


if __name__ == '__main__':
    main()
