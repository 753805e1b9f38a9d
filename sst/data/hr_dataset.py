"""What the datasets of HR pictures share, whose LR partners are made while they load."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from basicsr.data.transforms import augment
from torch.utils.data import Dataset

from sst.data.samples import random_place, to_tensor
from sst.data.storage import Pictures, pictures_below
from sst.options.data import roots_of
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS


class HRDataset(Dataset, ABC):
    """HR pictures of folders (with their subfolders) and LMDBs.

    Training takes a random crop of `gt_size`, flips and turns it; what a picture lacks to the crop is extended by
    reflection. Validation takes whole pictures, cropped to a multiple of the scale.

    Args:
        opt: a section `datasets` with `dataroot_gt`, `scale`, `phase` and, in training, `gt_size`, `use_hflip` and
            `use_rot`; `max_megapixels` if wanted.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        roots = roots_of(opt['dataroot_gt'])
        self.gt = Pictures([(root, pictures_below(root)) for root in roots], opt.get('max_megapixels', MEGAPIXELS))

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """BasicSR's dictionary: `lq` (3, h, w) and `gt` (3, H, W), RGB in [0, 1], `lq_path` and `gt_path`.

        Raises:
            UserError: the picture cannot be read, or is smaller than the scale (in validation).
        """
        hr, lr = self.training_pair(index) if self.opt['phase'] == 'train' else self.whole_pair(index)
        path = self.gt.path(index)
        return {'lq': to_tensor(lr), 'gt': to_tensor(hr), 'lq_path': path, 'gt_path': path}

    @abstractmethod
    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """HR crop (gt_size, gt_size, 3) of a picture and its LR partner, uint8, RGB."""

    @abstractmethod
    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole HR picture (H, W, 3), multiples of the scale, and its LR partner, uint8, RGB."""

    def training_crop(self, index: int, margin: int = 0) -> np.ndarray:
        """A random crop of `gt_size` with a margin on each side, flipped and turned.

        The place of the crop does not depend on the margin, which shows the picture's surroundings of the crop.
        """
        picture, size = self.gt.open(index), self.opt['gt_size']
        top, left = random_place(picture.shape, size)
        above, before = min(top, margin), min(left, margin)
        part = picture.crop(top - above, left - before, above + size + margin, before + size + margin)
        extended = extend(part, size + 2 * margin, (margin - above, margin - before))
        return augment(extended, self.opt['use_hflip'], self.opt['use_rot'])

    def whole(self, index: int) -> np.ndarray:
        """A picture, cropped to a multiple of the scale. Raises `UserError` if nothing is left."""
        picture, scale = self.gt.open(index), self.opt['scale']
        height, width = (side // scale * scale for side in picture.shape)
        if not height or not width:
            raise UserError(f'picture {picture.name} is smaller than the scale {scale}; remove it')
        return picture.crop(0, 0, height, width)


def extend(picture: np.ndarray, size: int, start: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Extend a picture (H, W, 3) by reflection, periodically, to `size` pixels a side.

    Args:
        start: pixels to add at the top and at the left; the rest is added at the bottom and right.
    """
    added = [(first, max(size - first - side, 0)) for first, side in zip(start, picture.shape[:2], strict=True)]
    return np.pad(picture, [*added, (0, 0)], mode='reflect') if any(map(any, added)) else picture
