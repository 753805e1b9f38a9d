"""Models, registered in BasicSR's MODEL_REGISTRY."""

from sst.models.sst_model import ESRModel, SSTModel

__all__ = ['ESRModel', 'SSTModel']
