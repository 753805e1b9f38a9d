"""Lists the images of a folder for an option file's meta_info_file, one line `name.png (h,w,c)` each."""

import argparse
import re
from pathlib import Path

from prepare.files import write_file
from prepare.images import by_stem, list_images, read_shape
from prepare.parallel import add_arguments as add_parallel_arguments
from prepare.parallel import raise_faults, run_jobs
from sst.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, required=True, help='folder of images, usually the HR images')
    parser.add_argument('--output', type=Path, required=True, help='text file to write')
    add_parallel_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Write the list and replace an older one.

    Raises:
        UserError: a folder without images, file names that a list cannot hold, and all broken images.
    """
    paths = list_images(args.input)
    by_stem(paths)
    if wrong := next((path for path in paths if re.search('[\n\r\ud800-\udfff]', path.name)), None):
        raise UserError(f'{str(wrong)!a}: a list cannot hold a name with line breaks or undecodable bytes; rename it')
    faults: list[str] = []
    lines = list(run_jobs(describe, paths, 'images listed', args.jobs, faults))
    raise_faults(faults, 'fix these and run the same command again')
    write_file(args.output, (line.encode() for line in lines))
    print(f'{args.output}: {len(lines)} images')


def describe(path: Path) -> str:
    """The line of an image. Raises FileError if its header cannot be read."""
    return '{} ({},{},{})\n'.format(path.name, *read_shape(path))
