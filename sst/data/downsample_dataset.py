"""HR pictures whose LR partners are made while training: DFLIP, or a folder of one's own."""

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from PIL import Image

from sst.data.hr_dataset import HRDataset


@DATASET_REGISTRY.register()
class DownsampleImageDataset(HRDataset):
    """HR pictures of folders (with their subfolders) and LMDBs, and LR pictures made of them by Pillow's bicubic.

    Options, crops and samples are those of `HRDataset`; LR is made of the crop as it is given out.
    """

    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """HR crop and its LR partner, uint8, RGB."""
        hr = self.training_crop(index)
        return hr, shrink(hr, self.opt['scale'])

    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Whole HR picture and its LR partner, uint8, RGB."""
        hr = self.whole(index)
        return hr, shrink(hr, self.opt['scale'])


def shrink(hr: np.ndarray, scale: int) -> np.ndarray:
    """The LR picture of an HR picture (H, W, 3), multiples of the scale: bicubic with antialiasing, in 8 bit."""
    height, width = hr.shape[:2]
    lr = Image.fromarray(hr).resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return np.asarray(lr)
