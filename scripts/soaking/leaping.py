"""A model whose loss leaps once, so that a run with `train.spikes` goes back to its last state."""

from basicsr.utils.registry import MODEL_REGISTRY

from sst.models import SSTModel


@MODEL_REGISTRY.register()
class LeapingModel(SSTModel):
    """Trains on images that are much too bright at one iteration, until the run has gone back."""

    def optimize_parameters(self, current_iter: int) -> None:
        """As `SSTModel`'s."""
        if current_iter == leap(self.opt['manual_seed']) and not self.leaps.returns:
            self.gt = self.gt * 1000
        super().optimize_parameters(current_iter)


def leap(seed: int) -> int:
    """The iteration of the leap: after the five losses that are needed to see it, and before the run's end."""
    return 7 + seed % 12
