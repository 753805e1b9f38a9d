"""The attention backends, fastest first: `auto` takes the first that has no reason not to serve."""

from sst.ops.backends.base import Backend
from sst.ops.backends.flash import Flash
from sst.ops.backends.reference import Reference
from sst.ops.backends.sdpa import SDPA

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Flash(), SDPA(), Reference())}
