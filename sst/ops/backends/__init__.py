"""The attention backends, fastest first: `auto` takes the first that can compute."""

from sst.ops.backends.base import Backend
from sst.ops.backends.flash import Flash
from sst.ops.backends.flex import Flex
from sst.ops.backends.fused import Fused
from sst.ops.backends.native import Native
from sst.ops.backends.reference import Reference
from sst.ops.backends.sdpa import SDPA

# That fused is faster than sdpa was measured on an H200; than flash is an estimate.
BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (Fused(), Flash(), Native(), Flex(), SDPA(), Reference())
}
