"""Networks, registered in BasicSR's ARCH_REGISTRY. Every module here with a name `..._arch.py` is imported."""

from sst.archs.attention import AttentionNetwork
from sst.archs.bicubic_arch import Bicubic
from sst.archs.sst_arch import SST
from sst.archs.sstreal_arch import SSTReal
from sst.utils.registering import import_all

import_all(__name__, __path__, '_arch')

__all__ = ['SST', 'AttentionNetwork', 'Bicubic', 'SSTReal']
