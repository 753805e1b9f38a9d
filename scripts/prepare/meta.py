"""The list of a folder's pictures that an option file names as meta_info_file: lines `name.png (h,w,c)`."""

import argparse
import re
from pathlib import Path

from prepare import parallel
from prepare.files import write_whole
from prepare.parallel import Faults
from prepare.pictures import by_stem, list_pictures, read_shape
from sst.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, required=True, help='folder of pictures, usually the HR ones')
    parser.add_argument('--output', type=Path, required=True, help='text file to write')
    parallel.add_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Write the list; an older one is replaced.

    Raises:
        UserError: for a folder without pictures, names that no list can hold, and all broken pictures.
    """
    paths = list_pictures(args.input)
    by_stem(paths)
    if wrong := next((path for path in paths if re.search('[\n\r\ud800-\udfff]', path.name)), None):
        raise UserError(f'{str(wrong)!a}: a list holds no line breaks and no bytes that are no text; rename it')
    faults = Faults()
    lines = list(parallel.run_jobs(describe, paths, 'pictures listed', args.jobs, faults))
    faults.raise_all('mend these and run the same command again')
    write_whole(args.output, ''.join(lines).encode())
    print(f'{args.output}: {len(lines)} pictures')


def describe(path: Path) -> str:
    """The line of a picture. Raises FileError if its header cannot be read."""
    return '{} ({},{},{})\n'.format(path.name, *read_shape(path))
