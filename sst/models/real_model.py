"""Training of SSTReal as a consistency model: steps between levels of noise, towards the network's own output."""

import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from sst.archs.sstreal_start import start
from sst.models.consistency import at_levels, drawn_level, levels, levels_at, sample_noise
from sst.models.evaluation import evaluating
from sst.models.losses import computed
from sst.models.sst_model import SSTModel


@MODEL_REGISTRY.register()
class SSTRealModel(SSTModel):
    """SSTReal and its exponential moving average.

    For each sample two neighbouring levels j and j + 1 of `train.consistency` are drawn, and x_j and x_{j+1} with the
    same noise. The network learns to make of x_{j+1} what it makes of x_j itself. At level 0 that is the HR image. With
    the target t, the loss is w l(D_i, t) + l(D_f, t), where l is the sum of the losses of `train` and w is
    `middle_weight`. In the release a process draws one j for its batch, and its batches are single images.

    Losses get images in [-1, 1].

    Args:
        opt (dict): as for `SSTModel`.
    """

    trains_from_noise = True
    signed = True

    def feed_data(self, data: dict) -> None:
        """Take a batch: `lq` (B, 3, h, w), `gt` (B, 3, H, W) and, if the dataset makes it, `lq_up` like `gt`.

        They are RGB in [0, 1]. `lq_up` is `lq` enlarged by bicubic interpolation, in 8 bit; without one it is made.
        """
        super().feed_data(data)
        given = data.get('lq_up')
        enlarged = start(self.lq) if given is None else given.to(self.device, non_blocking=True)
        self.lq_up: Tensor = (255 * enlarged).round().clamp(0, 255) / 255 if given is None else enlarged

    def _parts(self, current_iter: int) -> list[tuple[Tensor, ...]]:
        options, seed = self.opt['train'], self.opt['manual_seed']
        first = (current_iter - 1) * self.opt['datasets']['train']['batch_size'] + self.opt['rank']
        positions = [first + place * self.opt['world_size'] for place in range(len(self.lq))]
        noise = sample_noise(seed, positions, tuple(self.gt.shape[1:])).to(self.device)
        count = levels_at(current_iter, options['consistency'], options['total_iter'])
        steps = [drawn_level(seed, position, count) for position in positions]
        nearer, farther = (levels([j + more for j in steps], count, options['consistency']) for more in (0, 1))
        tensors = (self.lq, self.gt, self.lq_up, noise, nearer, farther)
        return list(zip(*(tensor.chunk(options['accumulate']) for tensor in tensors), strict=True))

    def _losses_of(  # type: ignore[override]
        self, lq: Tensor, gt: Tensor, lq_up: Tensor, noise: Tensor, nearer: Tensor, farther: Tensor
    ) -> dict[str, Tensor]:
        lq, gt, lq_up = (2 * image - 1 for image in (lq, gt, lq_up))
        target = self._target(at_levels(nearer, gt, lq_up, noise), nearer[:, 1], lq)
        with self._autocast():
            middle, last = self.net_g(at_levels(farther, gt, lq_up, noise), farther[:, 1], lq)
            losses, less = (computed(self.losses, output, target) for output in (last, middle))
        weight = self.opt['train']['consistency']['middle_weight']
        return losses | {f'{name}_middle': weight * loss for name, loss in less.items()}

    @torch.no_grad()
    def _target(self, x: Tensor, sigma: Tensor, lq: Tensor) -> Tensor:
        """D_f without dropout, by the weights at the start of the step; at sigma 0 it is x."""
        if not sigma.any():  # on the CPU, so a GPU need not be asked
            return x
        net = self.get_bare_model(self.net_g)
        with evaluating(net), self._autocast():
            return net.denoised(x, sigma, lq)[1]
