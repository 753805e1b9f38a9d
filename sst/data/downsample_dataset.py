"""HR pictures whose LR partners are made while training: DFLIP, or a folder of one's own."""

from typing import Any

import numpy as np
from basicsr.data.transforms import augment
from basicsr.utils.registry import DATASET_REGISTRY
from PIL import Image
from torch.utils.data import Dataset

from sst.data.samples import random_place, to_tensor
from sst.data.storage import Pictures, pictures_below
from sst.options.data import roots_of
from sst.utils.errors import UserError


@DATASET_REGISTRY.register()
class DownsampleImageDataset(Dataset):
    """HR pictures of folders (with their subfolders) and LMDBs, and LR pictures made of them by Pillow's bicubic.

    Training takes a random crop of `gt_size`, flips and turns it and shrinks the result; what a picture lacks to the
    crop is extended at the right and bottom by reflection. Validation takes whole pictures, cropped to a multiple of
    the scale.

    Args:
        opt: a section `datasets` with `dataroot_gt`, `scale`, `phase` and, in training, `gt_size`, `use_hflip` and
            `use_rot`.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.gt = Pictures((root, pictures_below(root)) for root in roots_of(opt['dataroot_gt']))

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """BasicSR's dictionary: `lq` (3, h, w) and `gt` (3, H, W), RGB in [0, 1], `lq_path` and `gt_path`.

        Raises:
            UserError: the picture cannot be read, or is smaller than the scale (in validation).
        """
        hr = self._training_crop(index) if self.opt['phase'] == 'train' else self._whole(index)
        path = self.gt.path(index)
        return {'lq': to_tensor(shrink(hr, self.opt['scale'])), 'gt': to_tensor(hr), 'lq_path': path, 'gt_path': path}

    def _training_crop(self, index: int) -> np.ndarray:
        picture, size = self.gt.open(index), self.opt['gt_size']
        crop = picture.crop(*random_place(picture.shape, size), size, size)
        return augment(extend(crop, size), self.opt['use_hflip'], self.opt['use_rot'])

    def _whole(self, index: int) -> np.ndarray:
        picture, scale = self.gt.open(index), self.opt['scale']
        height, width = (side // scale * scale for side in picture.shape)
        if not height or not width:
            raise UserError(f'picture {picture.name} is smaller than the scale {scale}; remove it')
        return picture.crop(0, 0, height, width)


def shrink(hr: np.ndarray, scale: int) -> np.ndarray:
    """The LR picture of an HR picture (H, W, 3), multiples of the scale: bicubic with antialiasing, in 8 bit."""
    height, width = hr.shape[:2]
    lr = Image.fromarray(hr).resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return np.asarray(lr)


def extend(picture: np.ndarray, size: int) -> np.ndarray:
    """Extend a picture (H, W, 3) at the right and bottom by reflection, periodically, to `size` pixels a side."""
    rest = [max(size - side, 0) for side in picture.shape[:2]]
    return np.pad(picture, [(0, rest[0]), (0, rest[1]), (0, 0)], mode='reflect') if any(rest) else picture
