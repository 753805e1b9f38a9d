"""HR images alone; LR is blurred, noisy and compressed, for networks that meet pictures as they are."""

import os
import random
import zlib
from typing import Self

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import Field, model_validator

from sst.data.degradation import degrade
from sst.data.degradation_options import Degradation
from sst.data.image_dataset import HRDataset
from sst.data.storage import is_lmdb
from sst.options.faults import refuse

MARGIN = 16  # LR pixels around a training crop that are degraded with it, so that its border does not show
JPEG_BLOCK = 8  # pixels


@DATASET_REGISTRY.register()
class DegradedImageDataset(HRDataset):
    """HR images of folders (with their subfolders) and LMDBs, and degraded LR images made of them.

    Crops are those of `HRDataset`. Training degrades a crop with its surroundings; the random numbers come from
    Python's random state, which the stream seeds. Validation degrades an image by numbers that follow from its name
    and `seed`, so that figures can be compared.

    Args:
        opt: as for `HRDataset`, with a section `degradation` and, in validation, `seed`.
    """

    class Options(HRDataset.Options):
        """The options of images that are degraded."""

        degradation: Degradation = Field(default=Degradation(), description='blur, resizing, noise and JPEG')
        seed: int | None = Field(
            default=None, ge=0, description='of sets to evaluate: another number degrades each image in another way'
        )

        @model_validator(mode='after')
        def _seeded(self) -> Self:
            trains = 'gt_size' in type(self).model_fields
            if trains and self.seed is not None:
                refuse([(('seed',), 'must be left out, because training draws from manual_seed')])
            if not trains:
                self.seed = self.seed or 0
            return self

    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        scale, size = self.opt['scale'], self.opt['gt_size']
        patch = self.training_crop(index, MARGIN * scale)
        rng = np.random.default_rng(random.getrandbits(128))
        cut = rng.integers(0, JPEG_BLOCK, 2)  # LR pixels: JPEG's blocks may lie anywhere on the crop
        patch = patch[cut[0] * scale :, cut[1] * scale :]
        lr = self.degraded(patch, rng)
        start = MARGIN - cut
        return _square(patch, start * scale, size), _square(lr, start, size // scale)

    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        hr = self.whole(index)
        root, name = self.gt.place(index)
        key = name if is_lmdb(root) else os.path.splitext(name)[0]
        rng = np.random.default_rng([self.opt['seed'], zlib.crc32(os.fsencode(key))])
        return hr, self.degraded(hr, rng)

    def degraded(self, hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The LR image of an HR image (H, W, 3); both uint8, RGB."""
        return degrade(hr, self.opt['scale'], self.opt['degradation'], rng)


def _square(image: np.ndarray, start: np.ndarray, size: int) -> np.ndarray:
    top, left = start
    return image[top : top + size, left : left + size]
