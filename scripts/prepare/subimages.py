"""Overlapping sub-images for training, quick to read: HR crops, and the LR crops that match, out of whole LR pictures.

Each INPUT holds HR/<name>.png and LR_bicubic/X2/<name>x2.png and so on. OUTPUT gets HR_sub/<name>_s001.png and
LR_bicubic_sub/X2/<name>_s001.png: equal names. Several inputs go into one output (DF2K = DIV2K and Flickr2K); two
pictures of one name are refused. Run it again after an interruption: finished files are kept.
"""

import argparse
import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from prepare import parallel
from prepare.files import make_folder, refuse_inside
from prepare.parallel import Faults, FileError, count
from prepare.pictures import by_stem, is_finished, list_pictures, read_picture, read_shape, write_picture
from sst.utils.errors import UserError

SCALES = (2, 3, 4)
MULTIPLE = math.lcm(*SCALES)  # crops lie on multiples of it, so that HR_sub is the same for every choice of scales


@dataclass(frozen=True)
class Job:
    """One HR picture and its LR pictures: scale -> (file to cut, folder of the results)."""

    stem: str
    pictures: dict[int, tuple[Path, Path]]
    size: int
    step: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, nargs='+', required=True, help='dataset folders with HR and LR_bicubic')
    parser.add_argument('--output', type=Path, required=True, help='dataset folder that gets HR_sub, LR_bicubic_sub')
    parser.add_argument(
        '--scales', type=int, nargs='*', choices=SCALES, default=SCALES, help='which (2 3 4); none: HR only'
    )
    parser.add_argument('--size', type=int, default=480, help='side of an HR crop in pixels (%(default)s)')
    parser.add_argument('--step', type=int, default=240, help='from one HR crop to the next, in pixels (%(default)s)')
    parallel.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: before work starts for options and folders that make no sense, equal names and LR pictures that are
            missing; after it for all pictures that failed.
    """
    if min(args.size, args.step) < 1 or args.size % MULTIPLE or args.step % MULTIPLE or args.step > args.size:
        raise UserError(
            f'--size {args.size} --step {args.step}: allowed are multiples of {MULTIPLE}, the step no larger than '
            'the size'
        )
    scales = sorted(set(args.scales))
    folders = {1: args.output / 'HR_sub'} | {s: args.output / 'LR_bicubic_sub' / f'X{s}' for s in scales}
    sources = by_stem(path for dataset in args.input for path in list_pictures(dataset / 'HR'))
    for dataset, folder in product(args.input, folders.values()):
        refuse_inside(folder, dataset / 'HR')
        refuse_inside(folder, dataset / 'LR_bicubic')
    jobs = [
        Job(
            stem, {1: (source, folders[1])} | {s: (_lr_of(source, s), folders[s]) for s in scales}, args.size, args.step
        )
        for stem, source in sources.items()
    ]
    _check_partners(jobs)
    for folder in folders.values():
        make_folder(folder)
    jobs = parallel.take_shard(jobs, args.shard)
    faults = Faults()
    made, kept = count(parallel.run_jobs(cut, jobs, 'sub-images', args.jobs, faults))
    print(f'{", ".join(map(str, folders.values()))}: {made} files written, {kept} there already')
    faults.raise_all('the others are done; mend these and run the same command again')


def _lr_of(hr: Path, scale: int) -> Path:
    return hr.parents[1] / 'LR_bicubic' / f'X{scale}' / f'{hr.stem}x{scale}.png'


def _check_partners(jobs: list[Job]) -> None:
    missing = [path for job in jobs for path, _ in job.pictures.values() if not path.is_file()]
    if missing:
        dataset = missing[0].parents[2]
        raise UserError(
            f'{missing[0]}: no such file; {len(missing)} LR pictures are missing; make them with: python '
            f'scripts/prepare_data.py lr --input {dataset / "HR"} --output {dataset / "LR_bicubic"}'
        )


def cut(job: Job) -> tuple[int, int]:
    """Write the missing crops of one picture; returns how many were written and how many were there.

    Raises:
        FileError: for a picture that cannot be read or is too small, an LR picture of another size than the HR picture
            makes, and for a file of another size in the way.
    """
    source, _ = job.pictures[1]
    height, width, _ = read_shape(source)
    if min(height, width) < MULTIPLE:
        raise FileError(f'{source}: {width}x{height} pixels, allowed are sides of {MULTIPLE} or more')
    crops = [
        (index, row, column)
        for index, (row, column) in enumerate(
            product(cut_axis(height, job.size, job.step), cut_axis(width, job.size, job.step)), start=1
        )
    ]
    made = 0
    for scale, (path, folder) in job.pictures.items():
        missing = []
        for index, row, column in crops:
            target = folder / f'{job.stem}_s{index:03d}.png'
            pixels = slice(row.start // scale, row.stop // scale), slice(column.start // scale, column.stop // scale)
            size = (pixels[0].stop - pixels[0].start, pixels[1].stop - pixels[1].start)
            if not is_finished(target, size, path):
                missing.append((target, pixels))
        if missing:
            picture = read_picture(path)
            if picture.shape[:2] != (height // scale, width // scale):
                raise FileError(
                    f'{path}: {picture.shape[1]}x{picture.shape[0]} pixels, but X{scale} of {source} has '
                    f'{width // scale}x{height // scale}'
                )
            for target, pixels in missing:
                write_picture(target, picture[pixels])
            made += len(missing)
    return made, len(crops) * len(job.pictures) - made


def cut_axis(length: int, size: int, step: int) -> list[slice]:
    """Places of the crops along an axis, in pixels: every `step`, and one that ends where the axis ends.

    All lie on multiples of 12. An axis shorter than `size` gives one crop of what there is; at most 11 pixels at the
    end belong to no crop.
    """
    length -= length % MULTIPLE
    size = min(size, length)
    starts = list(range(0, length - size + 1, step))
    if starts[-1] + size < length:
        starts.append(length - size)
    return [slice(start, start + size) for start in starts]
