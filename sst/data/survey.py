"""A look at pictures before a run starts: can they be read, and do LR and HR belong together?"""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

from PIL import Image

from sst.data.storage import is_lmdb
from sst.utils.errors import UserError

SHOWN = 3  # faults told of one set
PARTS = {'lq_path': 'lq', 'gt_path': 'gt'}  # where our datasets keep their pictures


def check_pictures(dataset: Any, scale: int, *, smallest: int = 1, decode: bool = False, progress: Any = None) -> None:
    """Look at every picture of a dataset that keeps its pictures in folders; databases are left alone.

    Args:
        dataset: as BasicSR's, with `paths`.
        scale: HR over LR; an HR picture may be larger than its LR picture says by less than `scale` pixels.
        smallest: pixels that each side of an HR picture must have.
        decode: read whole pictures, not only their heads.
        progress: wraps the iterator over pictures, as tqdm does.

    Raises:
        UserError: a line for each of the first faults, and how many more there are.
    """
    with ThreadPoolExecutor(cpu_count()) as pool:
        looks = pool.map(lambda files: _fault(files, scale, smallest, decode), _files(dataset))
        faults = [fault for fault in (progress(looks) if progress else looks) if fault]
    if faults:
        raise UserError('\n'.join(_told(dataset.opt['name'], faults)))


def _told(name: str, faults: list[str]) -> Iterator[str]:
    for fault in faults[:SHOWN]:
        yield f'dataset {name}: {fault}'
    if len(faults) > SHOWN:
        yield f'dataset {name}: and {len(faults) - SHOWN:,} more pictures that cannot be used'


def _files(dataset: Any) -> Iterator[dict[str, str]]:
    """The files of each picture of a dataset that lies in a folder, by their keys in BasicSR's dictionaries."""
    parts = {key: getattr(dataset, name) for key, name in PARTS.items() if hasattr(dataset, name)}
    for index in range(len(dataset) if parts else 0):
        if not any(is_lmdb(part.place(index)[0]) for part in parts.values()):
            yield {key: part.path(index) for key, part in parts.items()}
    if not parts and (dataset.opt.get('io_backend') or {}).get('type') != 'lmdb':  # one of BasicSR's
        for entry in getattr(dataset, 'paths', ()):
            yield entry if isinstance(entry, dict) else {'lq_path': entry}


def _fault(paths: dict[str, str], scale: int, smallest: int, decode: bool) -> str | None:
    sizes = {}
    for key, path in paths.items():
        try:
            sizes[key] = _size(path, decode)
        except Exception as fault:  # foreign bytes make Pillow raise anything at all
            return (
                f'{path} is no readable picture ({" ".join(str(fault).split())}); replace or remove it (its pair too)'
            )
    if 'lq_path' not in sizes or 'gt_path' not in sizes:
        return None
    (width, height), (hr_width, hr_height) = sizes['lq_path'], sizes['gt_path']
    expected = hr_width // scale, hr_height // scale
    if (width, height) != expected:
        return (
            f'{paths["gt_path"]} has {hr_width}x{hr_height} pixels and {paths["lq_path"]} {width}x{height}, not '
            f'{expected[0]}x{expected[1]} as scale {scale} asks; make the LR pictures anew, or name the scale they have'
        )
    if min(hr_width, hr_height) < smallest:
        return (
            f'{paths["gt_path"]} has {hr_width}x{hr_height} pixels, the metrics need {smallest} a side; remove the pair'
        )
    return None


def _size(path: str, decode: bool) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # large pictures are no attack here
        with Image.open(path) as picture:
            if decode:
                picture.load()
            return picture.size
