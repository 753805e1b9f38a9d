"""Makes LR images by MATLAB's bicubic imresize from a folder of HR images: OUTPUT/X2/<name>x2.png and so on.

Each HR image is first cropped to a multiple of the scale, at its right and bottom, like the published LR images of the
test sets. After an interruption, run the same command again: finished files are kept.
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

from prepare import SCALES, parallel
from prepare.files import refuse_inside
from prepare.images import by_stem, is_finished, list_images, read_image, read_shape, shrink, write_image
from sst.ops.imresize import crop_to_multiple


class Target(NamedTuple):
    """A file to make. The HR image is cropped to multiples of `multiple`, then shrunk by `scale` (1: not at all)."""

    path: Path
    scale: int
    multiple: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--input', type=Path, required=True, help='folder of HR images')
    parser.add_argument('--output', type=Path, required=True, help='folder that gets X2, X3, X4')
    parser.add_argument('--scales', type=int, nargs='+', choices=SCALES, default=SCALES, help='scales to make (2 3 4)')
    parser.add_argument(
        '--crop-hr',
        type=Path,
        metavar='FOLDER',
        help='also write the HR images there, cropped to a common multiple of all scales, and make LR from the cropped '
        'images; sizes then match exactly, which training on whole images needs',
    )
    parallel.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: before work starts for unusable folders, at the end for all images that failed.
    """
    scales = sorted(set(args.scales))
    common = math.lcm(*scales)
    outputs = [args.output / f'X{scale}' for scale in scales] + [args.crop_hr] * bool(args.crop_hr)
    for output in outputs:
        refuse_inside(output, args.input)
    sources = by_stem(list_images(args.input))
    jobs = []
    for stem, source in sources.items():
        names = [(args.output / f'X{scale}' / f'{stem}x{scale}.png', scale) for scale in scales]
        targets = [Target(path, scale, common if args.crop_hr else scale) for path, scale in names]
        if args.crop_hr:
            targets.append(Target(args.crop_hr / f'{stem}.png', 1, common))
        jobs.append((source, targets))
    if not args.crop_hr and any(source.suffix != '.png' for source in sources.values()):
        print('note: BasicSR pairs files of equal extension, and LR is .png; --crop-hr FOLDER writes HR as .png too')
    parallel.make_files(make_lr, jobs, 'LR images', outputs, args)


def make_lr(job: tuple[Path, list[Target]]) -> tuple[int, int]:
    """Write the missing files of one HR image; return how many were written and how many existed.

    Raises:
        FileError: the image cannot be read or is too small, or a target exists with another size.
    """
    source, targets = job
    height, width, _ = read_shape(source)
    missing = []
    for target in targets:
        if min(height, width) < target.multiple:
            raise parallel.FileError(f'{source}: {width}x{height} pixels are less than a multiple of {target.multiple}')
        size = tuple(side // target.multiple * target.multiple // target.scale for side in (height, width))
        if not is_finished(target.path, size, source):
            missing.append(target)
    if missing:
        image = read_image(source)
        for target in missing:
            cropped = crop_to_multiple(image, target.multiple)
            write_image(target.path, cropped if target.scale == 1 else shrink(cropped, target.scale), quick=True)
    return len(missing), len(targets) - len(missing)
