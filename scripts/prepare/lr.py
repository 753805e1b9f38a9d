"""LR pictures by MATLAB's bicubic imresize, from a folder of HR pictures: OUTPUT/X2/<name>x2.png and so on.

Each HR picture is cropped to a multiple of the scale before it is shrunk (at the right and bottom), as the published LR
pictures of the test sets were. Run it again after an interruption: finished files are kept.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from prepare import parallel
from prepare.files import make_folder, refuse_inside
from prepare.parallel import Faults, FileError, count
from prepare.pictures import (
    by_stem,
    is_finished,
    list_pictures,
    read_picture,
    read_shape,
    shrink,
    write_picture,
)
from sst.ops.imresize import crop_to_multiple

SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Job:
    """What to make: (file, scale, multiple of which the sides are cropped to before); scale 1 is the cropped HR."""

    source: Path
    targets: tuple[tuple[Path, int, int], ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, required=True, help='folder of HR pictures')
    parser.add_argument('--output', type=Path, required=True, help='folder that gets X2, X3, X4')
    parser.add_argument('--scales', type=int, nargs='+', choices=SCALES, default=SCALES, help='which (2 3 4)')
    parser.add_argument(
        '--crop-hr',
        type=Path,
        metavar='FOLDER',
        help='also write the HR pictures there, cropped to a common multiple of all scales, and make LR from these: '
        'all sizes then agree exactly, as training on whole pictures needs',
    )
    parallel.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: before work starts for folders that make no sense, after it for all pictures that failed.
    """
    outputs = [args.output / f'X{scale}' for scale in sorted(set(args.scales))]
    if args.crop_hr:
        outputs.append(args.crop_hr)
    for output in outputs:
        refuse_inside(output, args.input)
    sources = by_stem(list_pictures(args.input))
    jobs = [_job(stem, source, args) for stem, source in sources.items()]
    jobs = parallel.take_shard(jobs, args.shard)
    for output in outputs:
        make_folder(output)
    faults = Faults()
    made, kept = count(parallel.run_jobs(make_lr, jobs, 'LR pictures', args.jobs, faults))
    print(f'{", ".join(map(str, outputs))}: {made} files written, {kept} there already')
    if not args.crop_hr and any(source.suffix != '.png' for source in sources.values()):
        print('note: BasicSR pairs files of equal extension, and LR is .png; --crop-hr FOLDER writes HR as .png too')
    faults.raise_all('the others are done; mend these and run the same command again')


def _job(stem: str, source: Path, args: argparse.Namespace) -> Job:
    scales = sorted(set(args.scales))
    common = math.lcm(*scales)
    targets = [
        (args.output / f'X{scale}' / f'{stem}x{scale}.png', scale, common if args.crop_hr else scale)
        for scale in scales
    ]
    if args.crop_hr:
        targets.append((args.crop_hr / f'{stem}.png', 1, common))
    return Job(source, tuple(targets))


def make_lr(job: Job) -> tuple[int, int]:
    """Write the missing files of one picture; returns how many were written and how many were there.

    Raises:
        FileError: for a picture that cannot be read or is too small, and for a file of another size in the way.
    """
    height, width, _ = read_shape(job.source)
    missing = []
    for path, scale, multiple in job.targets:
        if min(height, width) < multiple:
            raise FileError(f'{job.source}: {width}x{height} pixels are too few for a multiple of {multiple}')
        shape = (height // multiple * multiple // scale, width // multiple * multiple // scale)
        if not is_finished(path, shape, job.source):
            missing.append((path, scale, multiple))
    if not missing:
        return 0, len(job.targets)
    picture = read_picture(job.source)
    for path, scale, multiple in missing:
        cropped = crop_to_multiple(picture, multiple)
        write_picture(path, cropped if scale == 1 else shrink(cropped, scale), quick=True)
    return len(missing), len(job.targets) - len(missing)
