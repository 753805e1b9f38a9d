"""LPIPS as a loss, by the package `lpips`."""

import warnings
from typing import Literal

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from sst.utils.errors import UserError, reason_of
from sst.utils.optional import require

WITHOUT = '; to train without LPIPS, give it loss_weight 0: --force_yml train:perceptual_opt:loss_weight=0'


@LOSS_REGISTRY.register()
class LPIPSLoss(nn.Module):
    """LPIPS (Zhang et al., CVPR 2018), the mean over the batch.

    Args:
        loss_weight (float): its weight.
        network (str): whose features are compared: `vgg`, `alex` or `squeeze`.
        signed (bool): whether images are in [-1, 1], not [0, 1]. The model of the run gives it.

    Raises:
        UserError: the package `lpips` or the weights of the network are missing.
    """

    def __init__(
        self, loss_weight: float = 1.0, network: Literal['vgg', 'alex', 'squeeze'] = 'vgg', signed: bool = False
    ) -> None:
        super().__init__()
        require('lpips', 'LPIPS', 'perceptual', 'LPIPSLoss', WITHOUT)
        import lpips

        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # lpips names its weights in torchvision's old words
                self.distance = lpips.LPIPS(net=network, verbose=False).eval().requires_grad_(False)
        except (OSError, RuntimeError) as fault:  # no network, or a file that is cut off
            raise UserError(
                f'LPIPSLoss cannot get the weights of {network} from torchvision ({reason_of(fault)}); start once with '
                f'a connection, or put the file into $TORCH_HOME/hub/checkpoints{WITHOUT}'
            ) from fault
        self.loss_weight, self.signed = loss_weight, signed

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The weighted distance of two batches (B, 3, H, W), RGB, not clipped."""
        return self.loss_weight * self.distance(sr, hr, normalize=not self.signed).mean()
