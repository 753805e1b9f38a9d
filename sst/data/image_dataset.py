"""What our datasets share: crops to train with, whole images to validate on, BasicSR's dictionaries."""

import random
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from basicsr.data.transforms import augment
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from sst.data.storage import ImageFiles, images_below, is_lmdb
from sst.options.data import FolderName, roots_of
from sst.options.faults import fault, refuse, shown
from sst.options.parts import PartOptions
from sst.options.section import Section
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS


def _one_or_several(dataroot: Any) -> Any:
    roots = dataroot if isinstance(dataroot, list) else [dataroot]
    if not roots or not all(isinstance(root, str) and root for root in roots):
        raise fault(f'must be a folder or LMDB, or a list of them, not {shown(dataroot)}')
    return dataroot


Roots = Annotated[str | list[str], BeforeValidator(_one_or_several)]


class IOBackend(Section):
    """How pictures are stored."""

    type: Literal['disk', 'lmdb'] = Field(default='disk', description='files in a folder, or one LMDB database')


class ImageDataset(Dataset, ABC):
    """HR images and their LR partners.

    Args:
        opt: a section of `datasets` with `scale`, `phase` and, in training, `gt_size`, `use_hflip` and `use_rot`;
            `max_megapixels` is optional.

    Attributes:
        gt, lq: the HR and LR files; they are the same where LR is made of HR.
    """

    class Options(PartOptions):
        """What our datasets share."""

        name: FolderName = Field(description='name of the data, as in tables and folders')
        dataroot_gt: Roots = Field(
            description='HR pictures, relative to the root folder: '
            'a folder, an LMDB (its name ends in .lmdb), or a list'
        )
        io_backend: IOBackend | None = Field(
            default=None, description='not needed: names that end in .lmdb are databases'
        )
        optional: bool = Field(
            default=False, description='whether training may start without this set to validate on, if it is missing'
        )
        prepare: str | None = Field(default=None, description='what to type or do when the data is missing')

        @model_validator(mode='after')
        def _databases(self) -> Self:
            if self.io_backend and self.io_backend.type == 'lmdb':
                refuse(
                    [
                        ((key,), f'must be a name that ends in .lmdb, because io_backend is lmdb, not {shown(root)}')
                        for key in ('dataroot_gt', 'dataroot_lq')
                        for root in roots_of(getattr(self, key, []))
                        if not is_lmdb(root)
                    ]
                )
            return self

    gt: ImageFiles
    lq: ImageFiles

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt

    def files(self, roots: list[str], names: list[list[str]]) -> ImageFiles:
        """The files of several roots, with the dataset's limit of pixels."""
        return ImageFiles(zip(roots, names, strict=True), self.opt.get('max_megapixels', MEGAPIXELS))

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return BasicSR's dictionary: `lq` (3, h, w), `gt` (3, H, W), RGB in [0, 1], `lq_path` and `gt_path`.

        Raises:
            UserError: an image cannot be read, or its size does not fit.
        """
        hr, lr = self.training_pair(index) if self.opt['phase'] == 'train' else self.whole_pair(index)
        paths = {'lq_path': self.lq.path(index), 'gt_path': self.gt.path(index)}
        return {'lq': to_tensor(lr), 'gt': to_tensor(hr)} | paths

    @abstractmethod
    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """An HR crop (gt_size, gt_size, 3) and its LR partner, uint8, RGB."""

    @abstractmethod
    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A whole HR image (H, W, 3), multiples of the scale, and its LR partner, uint8, RGB."""

    def augment(self, images: Any) -> Any:
        """Flip and turn images at random, all of them alike."""
        return augment(images, self.opt['use_hflip'], self.opt['use_rot'])


class HRDataset(ImageDataset):
    """HR images of folders (with their subfolders) and LMDBs, whose LR partners are made while they load.

    Training extends an image that is smaller than the crop by reflection. Validation crops images to a multiple of
    the scale.

    Args:
        opt: as for `ImageDataset`, with `dataroot_gt`.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        roots = roots_of(opt['dataroot_gt'])
        self.gt = self.lq = self.files(roots, [images_below(root) for root in roots])

    def training_crop(self, index: int, margin: int = 0) -> np.ndarray:
        """A random crop of `gt_size` with a margin of its surroundings on each side, flipped and turned.

        The margin does not change where the crop lies.
        """
        image, size = self.gt.open(index), self.opt['gt_size']
        top, left = random_place(image.shape, size)
        above, before = min(top, margin), min(left, margin)
        part = image.crop(top - above, left - before, above + size + margin, before + size + margin)
        return self.augment(extend(part, size + 2 * margin, (margin - above, margin - before)))

    def whole(self, index: int) -> np.ndarray:
        """An image, cropped to a multiple of the scale. Raises `UserError` if nothing is left."""
        image, scale = self.gt.open(index), self.opt['scale']
        height, width = (side // scale * scale for side in image.shape)
        if not height or not width:
            raise UserError(f'picture {image.name} is smaller than the scale {scale}; remove it')
        return image.crop(0, 0, height, width)


def random_place(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """(top, left) of a random crop of `size` pixels a side; 0 along an axis that is shorter."""
    height, width = shape
    top = random.randint(0, max(height - size, 0))
    return top, random.randint(0, max(width - size, 0))


def extend(image: np.ndarray, size: int, start: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Extend an image (H, W, 3) by periodic reflection to `size` pixels a side.

    Args:
        start: how many pixels are added at the top and at the left; the rest is added at the bottom and right.
    """
    added = [(first, max(size - first - side, 0)) for first, side in zip(start, image.shape[:2], strict=True)]
    return np.pad(image, [*added, (0, 0)], mode='reflect') if any(map(any, added)) else image


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1], the values of BasicSR's `astype(float32) / 255.`."""
    return torch.from_numpy(np.divide(image.transpose(2, 0, 1), np.float32(255), dtype=np.float32))
