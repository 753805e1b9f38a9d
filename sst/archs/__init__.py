"""Networks, registered in BasicSR's ARCH_REGISTRY. Every module here with a name `..._arch.py` is imported."""

from sst.archs.attention_network import AttentionNetwork
from sst.archs.bicubic_arch import Bicubic
from sst.archs.escrib_arch import ESCRIB
from sst.archs.sst_arch import SST
from sst.archs.sstreal_arch import SSTReal
from sst.archs.window_attention import WindowAttention
from sst.archs.window_network import WindowNetwork
from sst.utils.registering import import_all

import_all(__name__, __path__, '_arch')

__all__ = ['ESCRIB', 'SST', 'AttentionNetwork', 'Bicubic', 'SSTReal', 'WindowAttention', 'WindowNetwork']
