"""Gathers the runs under experiments/ and the tests under results/ into the paper's tables and one page to look at.

It writes report.html (tables, curves and images in one file), report.md, report.tex and report.csv.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from rich.console import Console

from measuring.results import make_folders, now, words
from reporting.page import page
from reporting.tables import found, quality, training
from sst.utils.command_line import CommandLine
from sst.utils.errors import in_one_line
from sst.utils.files import atomic_write_text
from sst.utils.optional import require

WIDTH = 160  # letters of a line that no terminal limits


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--root', type=Path, default=Path.cwd(), help='where experiments/ and results/ lie (the current folder)')
    add('--runs', type=words, default=[], metavar='NAMES', help='names of runs and tests, with commas between (all)')
    add('--images', type=int, default=4, help='images of each set on the page (%(default)s)')
    add('--out', type=Path, default=Path('results/report'), help='folder for the files (%(default)s)')
    args = parser.parse_args(arguments)
    with in_one_line():
        require('matplotlib.figure', 'Figure', 'plots', 'the report')
        tests, runs = found(args.root, args.runs)
        make_folders(args.out / 'report.html')
        grids = [*quality(tests), *([training(runs)] if runs else [])]
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
        for grid in grids:
            grid.show(console)
        texts = {
            'html': page(f'SST: runs and tests, {now()[:10]}', grids, runs, tests, args.root, args.images),
            'md': '\n'.join(grid.markdown() for grid in grids),
            'tex': '\n'.join(grid.latex() for grid in grids),
            'csv': '\n'.join(f'{grid.title}\n{grid.csv()}' for grid in grids),
        }
        files = [args.out / f'report.{ending}' for ending in texts]
        for file, text in zip(files, texts.values(), strict=True):
            atomic_write_text(file, text)
        print('Written:', *files)


if __name__ == '__main__':
    main()
