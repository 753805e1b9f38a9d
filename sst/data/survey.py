"""A look at pictures before a run starts: can they be read, and do LR and HR belong together?"""

import io
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from sst.data.encoded_image import EncodedImage
from sst.data.samples import CheckedSamples, usable
from sst.data.stream import seeded
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS, opened
from sst.utils.png import without_damaged_extras

SHOWN = 3  # faults told of one set
PARTS = ('lq', 'gt')  # where our datasets keep their pictures, and what BasicSR's dictionaries call them


def survey(dataset: Any, scale: int, *, smallest: int = 1, most: int | None = None, progress: Any = None) -> None:
    """Read pictures of a dataset, and a whole sample.

    Args:
        dataset: as BasicSR's.
        scale: HR over LR; an HR picture may be larger than its LR picture says by less than `scale` pixels.
        smallest: pixels that each side of an HR picture must have.
        most: how many pictures to read at most, spread evenly; None for all.
        progress: wraps the iterator over pictures, as tqdm does; called with `total`.

    Raises:
        UserError: a line for each of the first faults, and how many more there are.
    """
    name, count = dataset.opt['name'], len(dataset)
    chosen = np.linspace(0, count - 1, min(count, most or count)).round().astype(int).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = pool.map(lambda index: _fault(dataset, index, scale, smallest), chosen)
        faults = [fault for fault in (progress(looks, total=len(chosen)) if progress else looks) if fault]
    if faults:
        raise UserError('\n'.join(_told(name, faults)))
    _try_a_sample(dataset)


def _told(name: str, faults: list[str]) -> Iterator[str]:
    for fault in faults[:SHOWN]:
        yield f'dataset {name}: {fault}'
    if len(faults) > SHOWN:
        yield f'dataset {name}: and {len(faults) - SHOWN:,} more pictures that cannot be used'


def _fault(dataset: Any, index: int, scale: int, smallest: int) -> str | None:
    try:
        pictures = dict(_pictures(dataset, index))
        sizes = {key: _size(picture) for key, picture in pictures.items()}
    except UserError as fault:
        return str(fault)
    if sizes.keys() != {'lq', 'gt'}:
        return None
    (height, width), (hr_height, hr_width) = sizes['lq'], sizes['gt']
    expected = hr_height // scale, hr_width // scale
    hr, lr = f'{pictures["gt"].name} has {hr_width}x{hr_height} pixels', f'{pictures["lq"].name} {width}x{height}'
    if (height, width) != expected:
        return (
            f'{hr} and {lr}, not {expected[1]}x{expected[0]} as scale {scale} asks; make the LR pictures anew, or name '
            'the scale they have'
        )
    if min(hr_width, hr_height) < smallest:
        return f'{hr}, needed are {smallest} a side; remove the pair'
    return None


def _pictures(dataset: Any, index: int) -> Iterator[tuple[str, EncodedImage]]:
    """(key, picture) as far as the dataset tells: ours do, and BasicSR's on folders."""
    parts = {key: getattr(dataset, key) for key in PARTS if hasattr(dataset, key)}
    if parts.get('lq') is parts.get('gt'):  # LR is made of HR
        parts.pop('lq', None)
    for key, part in parts.items():
        yield key, part.open(index)
    if not parts and (dataset.opt.get('io_backend') or {}).get('type') != 'lmdb' and hasattr(dataset, 'paths'):
        entry = dataset.paths[index]
        for key, path in (entry if isinstance(entry, dict) else {'lq_path': entry}).items():
            try:
                limit = dataset.opt.get('max_megapixels', MEGAPIXELS)
                yield key.removesuffix('_path'), EncodedImage(Path(path).read_bytes(), path, limit)
            except OSError as fault:
                raise UserError(f'picture {path} cannot be read: {fault.strerror}') from fault


def _size(picture: EncodedImage) -> tuple[int, int]:
    """Height and width. Raises `UserError` for a picture that is not whole, which OpenCV would pass over."""
    height, width = picture.shape
    content, _ = without_damaged_extras(picture.content)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of texts that are damaged
        try:
            with opened(io.BytesIO(content)) as image:
                image.load()
        except UnidentifiedImageError:  # of a kind that Pillow does not know
            pass
        except Exception as fault:  # damaged files make Pillow raise anything at all
            reason = ' '.join(str(fault).split())
            raise UserError(f'picture {picture.name} cannot be read: {reason}; replace or remove it') from fault
    return height, width


def _try_a_sample(dataset: Any) -> None:
    """Hold a sample of a dataset that is not ours against what training and evaluation read."""
    opt, train = dataset.opt, dataset.opt.get('phase') == 'train'
    needed = {'lq', 'gt'} if train else {'lq', 'lq_path'}
    try:
        with seeded(0, 0):
            sample = usable(CheckedSamples(dataset, 'training' if train else 'evaluation')[0])
    except UserError:
        raise
    except Exception as fault:  # whatever a dataset of somebody else raises
        reason = ' '.join(str(fault).split()) or type(fault).__name__
        kind = type(fault).__name__
        raise UserError(f'dataset {opt["name"]}: {opt["type"]} gives no sample ({kind}: {reason})') from fault
    if not isinstance(sample, dict) or not needed <= sample.keys():
        held = ', '.join(map(str, sample)) if isinstance(sample, dict) else type(sample).__name__
        raise UserError(
            f'dataset {opt["name"]}: {opt["type"]} gives {held}; needed are {", ".join(sorted(needed))}: take '
            'PairedImageDataset or DownsampleImageDataset'
        )
