"""HR images alone; LR is made as for the training of SSTReal."""

import random
from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import Field

from sst.data.degradation_options import Degradation, Probability
from sst.data.degraded_dataset import DegradedImageDataset
from sst.data.image_dataset import to_tensor
from sst.data.real_degradation import degrade_as_released


class RealDegradation(Degradation):
    """How LR is made of HR for SSTReal: a round of degradations, a second one that may be left out, and the last steps.

    The last steps are resizing to the size of LR, a low-pass filter, and JPEG, which comes first or last.
    """

    second_prob: Probability = Field(
        default=0.5, description='how often there is a second round; the last JPEG, by its range, is always there'
    )


@DATASET_REGISTRY.register()
class RealImageDataset(DegradedImageDataset):
    """HR images of folders (with their subfolders) and LMDBs, and LR images degraded as in the release of SSTReal.

    Samples for training also hold `lq_up`, the bicubic enlargement of LR before it is rounded, itself in 8 bit.
    Crops are degraded without their surroundings, as published.

    Args:
        opt: as for `DegradedImageDataset`.
    """

    class Options(DegradedImageDataset.Options):
        """The options of images that are degraded as for SSTReal."""

        degradation: RealDegradation = Field(
            default=RealDegradation(), description='blur, resizing, noise and simulated JPEG'
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.opt['phase'] != 'train':
            return super().__getitem__(index)
        hr = self.training_crop(index)
        rng = np.random.default_rng(random.getrandbits(128))
        lr, enlarged = degrade_as_released(hr, self.opt['scale'], self.opt['degradation'], rng)
        images = {'lq': to_tensor(lr), 'gt': to_tensor(hr), 'lq_up': to_tensor(enlarged)}
        return images | {'lq_path': self.lq.path(index), 'gt_path': self.gt.path(index)}

    def degraded(self, hr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return degrade_as_released(hr, self.opt['scale'], self.opt['degradation'], rng)[0]
