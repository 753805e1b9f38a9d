"""Folders and databases of small pictures."""

from pathlib import Path

import cv2
import lmdb
import numpy as np


def write_folder(folder: Path, pictures: dict[str, np.ndarray]) -> str:
    """A folder of pictures (H, W, 3) in RGB, under their file names."""
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return str(folder)


def write_lmdb(folder: Path) -> str:
    """The same files as a database of BasicSR's kind, beside the folder."""
    root = folder.with_suffix('.lmdb')
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    with lmdb.open(str(root), map_size=2**24) as database, database.begin(write=True) as transaction:
        for path in files:
            transaction.put(path.relative_to(folder).with_suffix('').as_posix().encode(), path.read_bytes())
    lines = [f'{path.relative_to(folder).as_posix()} (40,40,3) 1\n' for path in files]
    (root / 'meta_info.txt').write_text(''.join(lines))
    return str(root)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
