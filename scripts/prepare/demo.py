"""Makes a small training and validation set from the photographs inside scikit-image: seconds, without download.

Training photographs are cut into tiles of about 240 pixels, which load quickly. Validation photographs stay whole, and
no training photograph shows the same scene.
"""

import argparse
import math
from itertools import product
from pathlib import Path

import numpy as np
import skimage.data
from tqdm import tqdm

from prepare import SCALES
from prepare.images import read_image, shrink, write_image
from sst.ops.imresize import crop_to_multiple
from sst.utils.errors import UserError

TRAINING = (
    'brick.png',
    'coins.png',
    'grass.png',
    'gravel.png',
    'ihc.png',
    'motorcycle_left.png',
    'motorcycle_right.png',
    'rocket.jpg',
)
VALIDATION = ('astronaut.png', 'camera.png', 'chelsea.png', 'coffee.png')
MULTIPLE = math.lcm(*SCALES)
TILE = 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--output', type=Path, default=Path('datasets/demo'), help='folder to make (%(default)s)')


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: the installed scikit-image lacks a photograph.
    """
    source = Path(skimage.data.__file__).parent
    if missing := [name for name in TRAINING + VALIDATION if not (source / name).is_file()]:
        raise UserError(f'{source}: lacks {", ".join(missing)}; install the scikit-image that constraints.txt names')
    jobs = [(name, 'train') for name in TRAINING] + [(name, 'val') for name in VALIDATION]
    made = 0
    for name, part in tqdm(jobs, desc='demo images', unit='image', disable=None):
        image = read_image(source / name)
        image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        image = crop_to_multiple(image, MULTIPLE)
        tiles = cut_tiles(image.shape[:2], TILE if part == 'train' else max(image.shape))
        made += write_pairs(args.output / part, Path(name).stem, image, tiles)
    for part, kind in (('train', 'training tiles'), ('val', 'whole images for validation')):
        count = len(list((args.output / part / 'HR').glob('*.png')))
        print(f'{args.output / part}: {count} {kind}, HR and LR_bicubic/X2, X3, X4')
    print(f'{made} files written' if made else 'all files existed already')


def cut_tiles(shape: tuple[int, ...], tile: int = TILE) -> list[tuple[slice, ...]]:
    """Cut (height, width), multiples of 12, into equal tiles of about `tile` pixels a side, on multiples of 12.

    The tiles cover the image except for less than 12 pixels a tile at the right and bottom.
    """

    def cut_axis(size: int) -> list[slice]:
        count = max(1, round(size / tile))
        length = size // count // MULTIPLE * MULTIPLE
        return [slice(i * length, (i + 1) * length) for i in range(count)]

    return list(product(*map(cut_axis, shape)))


def write_pairs(folder: Path, stem: str, image: np.ndarray, tiles: list[tuple[slice, ...]]) -> int:
    """Write each missing tile of the image and of the shrunk images; return the number of files written."""
    names = [stem if len(tiles) == 1 else f'{stem}_{number:02d}' for number in range(1, len(tiles) + 1)]
    made = 0
    for scale in (1, *SCALES):
        place, ending = (folder / 'HR', '') if scale == 1 else (folder / 'LR_bicubic' / f'X{scale}', f'x{scale}')
        targets = [(place / f'{name}{ending}.png', tile) for name, tile in zip(names, tiles, strict=True)]
        missing = [(path, tile) for path, tile in targets if not path.exists()]
        shrunk = shrink(image, scale) if missing and scale > 1 else image
        for path, tile in missing:
            write_image(path, shrunk[tuple(slice(axis.start // scale, axis.stop // scale) for axis in tile)])
        made += len(missing)
    return made
