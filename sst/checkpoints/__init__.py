"""Weights files: ours written and read, networks built from them. `sst/interop` adds the files of other programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sst.options.from_weights import reads_networks


@reads_networks
def network_for_options(source: str, given: Mapping[str, Any], key: str | None) -> tuple[Path, dict[str, Any]]:
    """See `sst.checkpoints.pretrained.network_for_options`, which is imported when an option file asks for it."""
    from sst.checkpoints import pretrained

    return pretrained.network_for_options(source, given, key)
