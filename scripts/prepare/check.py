"""Finds faults in datasets: unreadable images, LR that does not match HR, test images among the training images.

A dataset is a folder with HR and LR_bicubic/X2 and so on, or with HR_sub and LR_bicubic_sub/X2, each also as an .lmdb
database, or a folder of images. Prints a table and the faults; the exit code is 1 if there are any.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from prepare import parallel
from prepare.images import decode_image, decode_shape
from prepare.pairs import Entry, Part, find_pairs
from prepare.parallel import FileError, run_jobs
from sst.utils.tables import VisibleTable
from sst.utils.visible import visible

MOST_FAULTS_SHOWN = 50

Shapes = dict[Entry, tuple[int, int, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--input', type=Path, nargs='+', required=True, help='dataset folders')
    add(
        '--against',
        type=Path,
        nargs='+',
        default=[],
        help='test sets: checked too, and none of their images may be in the input',
    )
    add('--headers', action='store_true', help='read only the headers of the images, which is quick')
    parallel.add_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Print what is there and what is wrong with it; exit with code 1 if anything is wrong.

    Raises:
        UserError: a folder holds no images.
    """
    training = [pair for dataset in args.input for pair in find_pairs(dataset)]
    tests = [pair for dataset in args.against for pair in find_pairs(dataset)]
    parts = [part for hr, lr in training + tests for part in (hr, *lr)]
    shapes: Shapes = {}
    jobs = [(index, entry) for index, part in enumerate(parts) for entry in part.entries.values()]
    for index, entry, found in run_jobs(partial(inspect, decode=not args.headers), jobs, 'images read', args.jobs, []):
        if isinstance(found, str):
            parts[index].faults.append(found)
        else:
            shapes[entry] = found
    for hr, lr in training + tests:
        for part in lr:
            part.faults += find_misfits(hr, part, shapes)
    _find_duplicates([hr for hr, _ in training], [hr for hr, _ in tests], shapes, args.jobs)
    _print_table(parts, shapes)
    faults = [line for part in parts for line in part.faults]
    for line in faults[:MOST_FAULTS_SHOWN]:
        print(visible(line))
    if len(faults) > MOST_FAULTS_SHOWN:
        print(f'... and {len(faults) - MOST_FAULTS_SHOWN} more')
    print(f'{len(faults)} faults' if faults else 'no faults')
    if faults:
        sys.exit(1)


def inspect(job: tuple[int, Entry], *, decode: bool) -> tuple[int, Entry, tuple[int, int, int] | str]:
    """The given part and entry, and the shape (h, w, c) of the image or what is wrong with it."""
    index, entry = job
    try:
        content = entry.read()
        shape = decode_shape(content, str(entry))
        if decode:
            decode_image(content, str(entry))
    except FileError as fault:
        return index, entry, str(fault)
    return index, entry, shape


def find_misfits(hr: Part, lr: Part, shapes: Shapes) -> Iterator[str]:
    """A line for each HR image without LR, LR image without HR, and LR size that is not floor(HR / scale)."""
    for name, entry in hr.entries.items():
        partner = lr.entries.get(name)
        if partner is None:
            yield f'{entry}: has no image in {lr.place}'
        elif partner.place.suffix != entry.place.suffix:
            yield f'{partner}: BasicSR needs the extension {entry.place.suffix} of its HR image'
        elif partner in shapes and entry in shapes:
            height, width = (length // lr.scale for length in shapes[entry][:2])
            if shapes[partner][:2] != (height, width):
                found = '{1}x{0}'.format(*shapes[partner])
                yield f'{partner}: has {found} pixels, but X{lr.scale} of {entry} has {width}x{height}'
    for name in lr.entries.keys() - hr.entries.keys():
        yield f'{lr.entries[name]}: has no image in {hr.place}'


def _find_duplicates(training: list[Part], tests: list[Part], shapes: Shapes, workers: int) -> None:
    """Compare the pixels of training and test images of equal size."""
    owners = {entry: part for part in training for entry in part.entries.values() if entry in shapes}
    test_entries = [entry for part in tests for entry in part.entries.values() if entry in shapes]
    sizes = {shapes[entry][:2] for entry in owners} & {shapes[entry][:2] for entry in test_entries}
    suspects = [entry for entry in dict.fromkeys([*test_entries, *owners]) if shapes[entry][:2] in sizes]
    if not suspects:
        return
    digests = dict(run_jobs(fingerprint, suspects, 'images compared', workers, []))
    originals = {digests[entry]: entry for entry in test_entries if entry in digests}
    for entry, part in owners.items():
        if digests.get(entry) in originals:
            part.faults.append(f'{entry}: is the test image {originals[digests[entry]]}')


def fingerprint(entry: Entry) -> tuple[Entry, bytes]:
    """A digest of the pixels, the same for a grey image and its copy in three channels. Raises FileError."""
    image = decode_image(entry.read(), str(entry))
    channels = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return entry, hashlib.blake2b(f'{channels.shape} {channels.dtype}'.encode() + channels.tobytes()).digest()


def _print_table(parts: list[Part], shapes: Shapes) -> None:
    table = VisibleTable()
    for heading in ('images in', 'number', 'smallest', 'largest', 'faults'):
        table.add_column(heading, justify='left' if heading == 'images in' else 'right', overflow='fold')
    for part in parts:
        sizes = sorted((shapes[entry][:2] for entry in part.entries.values() if entry in shapes), key=np.prod)
        ends = [f'{width}x{height}' for height, width in (sizes[0], sizes[-1])] if sizes else ['', '']
        table.add_row(str(part.place), str(len(part.entries)), *ends, str(len(part.faults)))
    Console().print(table)
