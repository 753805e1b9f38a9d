"""Looks for faults in datasets: unreadable pictures, LR that does not fit HR, test pictures among the training ones.

A dataset is a folder with HR and LR_bicubic/X2 ..., with HR_sub and LR_bicubic_sub/X2 ..., the same as .lmdb databases,
or just pictures. Prints a table and the faults; the exit code is 1 if there are any.
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
from prepare.pairs import Entry, Part, find_pairs
from prepare.parallel import Faults, FileError, run_jobs
from prepare.pictures import decode_picture, decode_shape
from sst.utils.tables import VisibleTable
from sst.utils.visible import visible

MOST_FAULTS_SHOWN = 50

Shapes = dict[Entry, tuple[int, int, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, nargs='+', required=True, help='dataset folders')
    parser.add_argument(
        '--against',
        type=Path,
        nargs='+',
        default=[],
        help='test sets, checked too: none of their pictures may be in the input',
    )
    parser.add_argument('--headers', action='store_true', help='read the headers of the pictures only: quick')
    parallel.add_arguments(parser, shards=False)


def run(args: argparse.Namespace) -> None:
    """Print what is there and what is wrong with it; exit with code 1 if anything is.

    Raises:
        UserError: for folders without pictures.
    """
    training = [pairs for dataset in args.input for pairs in find_pairs(dataset)]
    tests = [pairs for dataset in args.against for pairs in find_pairs(dataset)]
    parts = [part for pairs in training + tests for part in (pairs.hr, *pairs.lr)]
    shapes = _inspect(parts, args.jobs, decode=not args.headers)
    for pairs in training + tests:
        for part in pairs.lr:
            part.faults += find_misfits(pairs.hr, part, shapes)
    _find_duplicates([pairs.hr for pairs in training], [pairs.hr for pairs in tests], shapes, args.jobs)
    _print_table(parts, shapes)
    faults = [line for part in parts for line in part.faults]
    for line in faults[:MOST_FAULTS_SHOWN]:
        print(visible(line))
    if len(faults) > MOST_FAULTS_SHOWN:
        print(f'... and {len(faults) - MOST_FAULTS_SHOWN} more')
    print(f'{len(faults)} faults' if faults else 'no faults')
    if faults:
        sys.exit(1)


def _inspect(parts: list[Part], workers: int, *, decode: bool) -> Shapes:
    """The shapes of all readable pictures; the faults of the others go to their parts."""
    jobs = [(index, entry) for index, part in enumerate(parts) for entry in part.entries.values()]
    shapes = {}
    for index, entry, found in run_jobs(partial(inspect, decode=decode), jobs, 'pictures read', workers, Faults()):
        if isinstance(found, str):
            parts[index].faults.append(found)
        else:
            shapes[entry] = found
    return shapes


def inspect(job: tuple[int, Entry], *, decode: bool) -> tuple[int, Entry, tuple[int, int, int] | str]:
    """The part and entry as given, and the shape (h, w, c) of the picture or what is wrong with it."""
    index, entry = job
    try:
        content = entry.read()
        shape = decode_shape(content, str(entry))
        if decode:
            decode_picture(content, str(entry))
    except FileError as fault:
        return index, entry, str(fault)
    return index, entry, shape


def find_misfits(hr: Part, lr: Part, shapes: Shapes) -> Iterator[str]:
    """A line for each HR picture without LR, LR without HR, and LR that is not floor(HR / scale) pixels large."""
    for name, entry in hr.entries.items():
        partner = lr.entries.get(name)
        if partner is None:
            yield f'{entry}: has no picture in {lr.place}'
        elif partner.place.suffix != entry.place.suffix:
            yield f'{partner}: BasicSR wants the extension {entry.place.suffix} of its HR picture'
        elif partner in shapes and entry in shapes:
            height, width = (length // lr.scale for length in shapes[entry][:2])
            if shapes[partner][:2] != (height, width):
                found = '{1}x{0}'.format(*shapes[partner])
                yield f'{partner}: {found} pixels, but X{lr.scale} of {entry} has {width}x{height}'
    for name in lr.entries.keys() - hr.entries.keys():
        yield f'{lr.entries[name]}: has no picture in {hr.place}'


def _find_duplicates(training: list[Part], tests: list[Part], shapes: Shapes, workers: int) -> None:
    """Compare the pixels of the pictures on both sides, where they have a size in common."""
    owners = {entry: part for part in training for entry in part.entries.values() if entry in shapes}
    test_entries = [entry for part in tests for entry in part.entries.values() if entry in shapes]
    sizes = {shapes[entry][:2] for entry in owners} & {shapes[entry][:2] for entry in test_entries}
    suspects = [entry for entry in dict.fromkeys([*test_entries, *owners]) if shapes[entry][:2] in sizes]
    if not suspects:
        return
    digests = dict(run_jobs(fingerprint, suspects, 'pictures compared', workers, Faults()))
    originals = {digests[entry]: entry for entry in test_entries if entry in digests}
    for entry, part in owners.items():
        if digests.get(entry) in originals:
            part.faults.append(f'{entry}: is the test picture {originals[digests[entry]]}')


def fingerprint(entry: Entry) -> tuple[Entry, bytes]:
    """A digest of the pixels, equal for a grey picture and the same in three channels. Raises FileError."""
    picture = decode_picture(entry.read(), str(entry))
    channels = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return entry, hashlib.blake2b(f'{channels.shape} {channels.dtype}'.encode() + channels.tobytes()).digest()


def _print_table(parts: list[Part], shapes: Shapes) -> None:
    table = VisibleTable()
    for heading in ('pictures in', 'number', 'smallest', 'largest', 'faults'):
        table.add_column(heading, justify='left' if heading == 'pictures in' else 'right', overflow='fold')
    for part in parts:
        sizes = [shapes[entry][:2] for entry in part.entries.values() if entry in shapes]
        sizes.sort(key=lambda size: size[0] * size[1])
        ends = [f'{width}x{height}' for height, width in (sizes[0], sizes[-1])] if sizes else ['', '']
        table.add_row(str(part.place), str(len(part.entries)), *ends, str(len(part.faults)))
    Console().print(table)
