"""HR images alone; LR is made of them by Pillow's bicubic: DFLIP, or a folder of one's own."""

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from PIL import Image

from sst.data.image_dataset import HRDataset


@DATASET_REGISTRY.register()
class DownsampleImageDataset(HRDataset):
    """HR images of folders and LMDBs; LR is made of each crop by Pillow's bicubic with antialiasing, in 8 bit.

    Options and samples are those of `HRDataset`.
    """

    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._with_lr(self.training_crop(index))

    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._with_lr(self.whole(index))

    def _with_lr(self, hr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = hr.shape[1] // self.opt['scale'], hr.shape[0] // self.opt['scale']
        return hr, np.asarray(Image.fromarray(hr).resize(size, Image.Resampling.BICUBIC))
