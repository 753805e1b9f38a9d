"""The networks that SST's paper compares with, registered in BasicSR's ARCH_REGISTRY under their published names.

Each module `..._arch.py` holds one system in plain PyTorch. Names and shapes of the weights are the published ones, so
that a published file loads as it is. What several systems share is in `shell.py` and `parts.py`.
"""

from sst.utils.registering import import_all

import_all(__name__, __path__, '_arch')
