"""A small training and validation set from the photographs that ship inside scikit-image: no download, seconds.

Training photographs are cut into tiles of about 240 pixels, so that reading one is cheap. Validation photographs stay
whole, and no training photograph shows their scene.
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from tqdm import tqdm

from prepare.pictures import read_rgb, shrink, write_png
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

SCALES = (2, 3, 4)
MULTIPLE = 12  # of all scales
TILE = 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--output', type=Path, default=Path('datasets/demo'), help='folder to make (%(default)s)')


def run(args: argparse.Namespace) -> None:
    """Make what is missing below `args.output`.

    Raises:
        UserError: if a photograph is not in the installed scikit-image.
    """
    source = Path(skimage.data.__file__).parent
    missing = [name for name in TRAINING + VALIDATION if not (source / name).is_file()]
    if missing:
        raise UserError(f'{source} lacks {", ".join(missing)}; install scikit-image as constraints.txt names it')
    jobs = [(name, 'train') for name in TRAINING] + [(name, 'val') for name in VALIDATION]
    made = 0
    for name, part in tqdm(jobs, desc='demo pictures', unit='picture', disable=None):
        picture = crop_to_multiple(read_rgb(source / name), MULTIPLE)
        tile = TILE if part == 'train' else max(picture.shape)
        made += _write_pairs(args.output / part, Path(name).stem, picture, cut_tiles(picture.shape[:2], tile))
    for part in ('train', 'val'):
        pictures = len(list((args.output / part / 'HR').glob('*.png')))
        kind = 'tiles for training' if part == 'train' else 'whole pictures for validation'
        print(f'{args.output / part}: {pictures} {kind}, HR and LR_bicubic/X2, X3, X4')
    print(f'{made} files written' if made else 'all files were there already')


def cut_tiles(shape: tuple[int, ...], tile: int = TILE) -> list[tuple[slice, slice]]:
    """Cut (height, width), multiples of 12, into equal tiles of about `tile` pixels a side, on multiples of 12.

    The tiles cover the picture but for a rest of less than 12 pixels a tile at the right and bottom.
    """
    rows, columns = (_cut_axis(size, tile) for size in shape)
    return [(row, column) for row in rows for column in columns]


def _cut_axis(size: int, tile: int) -> list[slice]:
    count = max(1, round(size / tile))
    length = size // count // MULTIPLE * MULTIPLE
    return [slice(i * length, (i + 1) * length) for i in range(count)]


def _write_pairs(folder: Path, stem: str, picture: np.ndarray, tiles: list[tuple[slice, slice]]) -> int:
    """Write each tile and the same tile of the shrunk whole pictures; returns the number of files written."""
    made = 0
    for scale in (1, *SCALES):
        names = [stem if len(tiles) == 1 else f'{stem}_{i:02d}' for i in range(1, len(tiles) + 1)]
        paths = [_path(folder, name, scale) for name in names]
        if all(path.exists() for path in paths):
            continue
        shrunk = picture if scale == 1 else shrink(picture, scale)
        for path, tile in zip(paths, tiles, strict=True):
            if not path.exists():
                write_png(path, shrunk[tuple(_divide(axis, scale) for axis in tile)])
                made += 1
    return made


def _path(folder: Path, name: str, scale: int) -> Path:
    return folder / 'HR' / f'{name}.png' if scale == 1 else folder / 'LR_bicubic' / f'X{scale}' / f'{name}x{scale}.png'


def _divide(axis: slice, scale: int) -> slice:
    return slice(axis.start // scale, axis.stop // scale)
