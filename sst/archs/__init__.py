"""Networks, registered in BasicSR's ARCH_REGISTRY."""

from sst.archs.bicubic_arch import Bicubic
from sst.archs.sst_arch import SST

__all__ = ['SST', 'Bicubic']
