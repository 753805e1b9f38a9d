"""A loss on how strong each spatial frequency is, wherever its waves lie."""

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from sst.utils.errors import UserError

LUMA = 0.299, 0.587, 0.114


@LOSS_REGISTRY.register()
class SpectrumLoss(nn.Module):
    """mean | |F(y_sr)| - |F(y_hr)| | over windows, after Fuoli et al. (ICCV 2021), who transform whole patches.

    y is 0.299 R + 0.587 G + 0.114 B, because detail in colour alone looks like noise. F is the orthonormal Fourier
    transform of a window of `size` pixels a side, tapered by a Hann window. Windows overlap by half. A pixel loss
    answers unsure detail with blur. This loss does not mind where detail lies, so it keeps as much as the HR image has.

    Args:
        loss_weight (float): its weight.
        size (int): pixels a side of a window, even and at least 4.

    Raises:
        UserError: there is no such size.
    """

    window: Tensor

    def __init__(self, loss_weight: float = 1.0, size: int = 16) -> None:
        super().__init__()
        if size < 4 or size % 2:
            raise UserError(f'SpectrumLoss: size {size} must be an even number of at least 4')
        self.loss_weight, self.size = loss_weight, size
        taper = torch.hann_window(size)
        self.register_buffer('window', taper[:, None] * taper, persistent=False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """The weighted loss of two batches (B, 3, H, W), RGB. Raises `UserError` if they are smaller than a window."""
        if min(sr.shape[-2:]) < self.size:
            raise UserError(
                f'SpectrumLoss: patches of {sr.shape[-1]}x{sr.shape[-2]} pixels are smaller than its windows of '
                f'{self.size}; raise datasets.train.gt_size, or give the loss a smaller size'
            )
        return self.loss_weight * (self._strengths(sr) - self._strengths(hr)).abs().mean()

    def _strengths(self, images: Tensor) -> Tensor:
        step = self.size // 2
        luma = torch.einsum('bchw,c->bhw', images.float(), self.window.new_tensor(LUMA))
        windows = luma.unfold(1, self.size, step).unfold(2, self.size, step)
        return torch.fft.rfft2(self.window * windows, norm='ortho').abs()
