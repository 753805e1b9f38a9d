"""Models, registered in BasicSR's MODEL_REGISTRY, and losses, in its LOSS_REGISTRY."""

from sst.models.lpips_loss import LPIPSLoss
from sst.models.real_model import SSTRealModel
from sst.models.sst_model import ESRModel, SSTModel

__all__ = ['ESRModel', 'LPIPSLoss', 'SSTModel', 'SSTRealModel']
