"""Cuts overlapping sub-images for training, which load quickly: HR crops, and matching crops of the whole LR images.

Each INPUT holds HR/<name>.png and LR_bicubic/X2/<name>x2.png and so on. OUTPUT gets HR_sub/<name>_s001.png and
LR_bicubic_sub/X2/<name>_s001.png under equal names. Several inputs may share one output (DF2K = DIV2K and Flickr2K) if
no two images have the same name. After an interruption, run the same command again: finished files are kept.
"""

import argparse
import math
from itertools import product
from pathlib import Path
from typing import NamedTuple

from prepare import SCALES, parallel
from prepare.files import refuse_inside
from prepare.images import by_stem, is_finished, list_images, read_image, read_shape, write_image
from prepare.parallel import FileError
from sst.utils.errors import UserError

MULTIPLE = math.lcm(*SCALES)  # crops lie on multiples of it, so that HR_sub does not depend on the scales


class Job(NamedTuple):
    """An HR image (scale 1) and its LR images: scale -> (file to cut, folder of the crops)."""

    stem: str
    images: dict[int, tuple[Path, Path]]
    size: int
    step: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--input', type=Path, nargs='+', required=True, help='dataset folders with HR and LR_bicubic')
    add('--output', type=Path, required=True, help='dataset folder that gets HR_sub and LR_bicubic_sub')
    add('--scales', type=int, nargs='*', choices=SCALES, default=SCALES, help='LR scales (2 3 4); no value: HR only')
    add('--size', type=int, default=480, help='side of an HR crop in pixels (%(default)s)')
    add('--step', type=int, default=240, help='distance between HR crops in pixels (%(default)s)')
    parallel.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: before work starts for unusable options and folders, equal names and missing LR images; at the end
            for all images that failed.
    """
    if min(args.size, args.step) < 1 or args.size % MULTIPLE or args.step % MULTIPLE or args.step > args.size:
        raise UserError(
            f'--size {args.size} --step {args.step}: both must be multiples of {MULTIPLE}, and the step must not be '
            'larger than the size'
        )
    folders = {1: args.output / 'HR_sub'}
    folders |= {scale: args.output / 'LR_bicubic_sub' / f'X{scale}' for scale in sorted(set(args.scales))}
    sources = by_stem(path for dataset in args.input for path in list_images(dataset / 'HR'))
    for dataset, folder, part in product(args.input, folders.values(), ('HR', 'LR_bicubic')):
        refuse_inside(folder, dataset / part)
    jobs = [
        Job(stem, {s: (_image_at(source, s), folder) for s, folder in folders.items()}, args.size, args.step)
        for stem, source in sources.items()
    ]
    if missing := [path for job in jobs for path, _ in job.images.values() if not path.is_file()]:
        dataset = missing[0].parents[2]
        raise UserError(
            f'{missing[0]}: no such file; {len(missing)} LR images are missing; make them with: python '
            f'scripts/prepare_data.py lr --input {dataset / "HR"} --output {dataset / "LR_bicubic"}'
        )
    parallel.make_files(cut, jobs, 'sub-images', list(folders.values()), args)


def _image_at(hr: Path, scale: int) -> Path:
    return hr if scale == 1 else hr.parents[1] / 'LR_bicubic' / f'X{scale}' / f'{hr.stem}x{scale}.png'


def cut(job: Job) -> tuple[int, int]:
    """Write the missing crops of one image; return how many were written and how many existed.

    Raises:
        FileError: an image cannot be read or is too small, an LR image does not have the size that the HR image gives,
            or a target exists with another size.
    """
    source, _ = job.images[1]
    height, width, _ = read_shape(source)
    if min(height, width) < MULTIPLE:
        raise FileError(f'{source}: {width}x{height} pixels; both sides must be at least {MULTIPLE}')
    crops = list(product(cut_axis(height, job.size, job.step), cut_axis(width, job.size, job.step)))
    made = 0
    for scale, (path, folder) in job.images.items():
        missing = []
        for number, crop in enumerate(crops, start=1):
            target = folder / f'{job.stem}_s{number:03d}.png'
            rows, columns = (slice(axis.start // scale, axis.stop // scale) for axis in crop)
            if not is_finished(target, (rows.stop - rows.start, columns.stop - columns.start), path):
                missing.append((target, rows, columns))
        if missing:
            image = read_image(path)
            if image.shape[:2] != (height // scale, width // scale):
                raise FileError(
                    f'{path}: has {image.shape[1]}x{image.shape[0]} pixels, but X{scale} of {source} has '
                    f'{width // scale}x{height // scale}'
                )
            for target, rows, columns in missing:
                write_image(target, image[rows, columns])
            made += len(missing)
    return made, len(crops) * len(job.images) - made


def cut_axis(length: int, size: int, step: int) -> list[slice]:
    """Positions of the crops along an axis in pixels: one every `step`, and one that ends where the axis ends.

    All lie on multiples of 12. An axis shorter than `size` gives one crop of its length. At most 11 pixels at the end
    are in no crop.
    """
    length -= length % MULTIPLE
    size = min(size, length)
    starts = list(range(0, length - size + 1, step))
    if starts[-1] + size < length:
        starts.append(length - size)
    return [slice(start, start + size) for start in starts]
