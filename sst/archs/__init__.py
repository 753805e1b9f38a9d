"""Networks, registered in BasicSR's ARCH_REGISTRY."""

from sst.archs.sst_arch import SST

__all__ = ['SST']
