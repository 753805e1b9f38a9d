"""What can be said about a weights file."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sst.archs.window_options import windows_of
from sst.checkpoints.facts import Facts, facts, untold
from sst.checkpoints.networks import has_attention
from sst.checkpoints.pretrained import MissingOptionsError, candidates, network_in
from sst.checkpoints.published import published_names
from sst.checkpoints.weights import Weights, read_weights
from sst.options.registries import scale_in
from sst.rivals.recognition import recognised
from sst.utils.safetensors_files import is_safetensors


def describe(
    path: str | Path, param_key: str | None = None, network_g: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What is in a weights file, in a form that JSON can hold; None for what is unknown.

    Args:
        path (str | Path): the file.
        param_key (str | None): the entry to describe; None as for `read_weights`.
        network_g (Mapping | None): options that the file does not hold, as for `from_pretrained`.

    Returns:
        dict: `file`, `bytes`, `format` (safetensors or PyTorch), `names` (ours, released or other), `entries` that may
            hold a network and `entry`, the one described; `model`, `scale`, `windows`, `network_g`; `parameters`,
            `dtype` with the number of weights of each; `metadata`, which may hold training_data.

    Raises:
        UserError: the file is missing, broken, no weights file or contradicts itself.
    """
    path = Path(path)
    weights = read_weights(str(path), param_key)
    found = facts(weights.state)
    network = None
    if found or network_g or not weights.network_g:
        with suppress(MissingOptionsError):
            network = network_in(weights, str(path), network_g or {})
    options = network or weights.network_g or {}
    dtypes: Counter[str] = Counter()
    for value in weights.state.values():
        dtypes[str(value.dtype).removeprefix('torch.')] += value.numel()
    return {
        'file': str(path),
        'bytes': path.stat().st_size,
        'format': 'safetensors' if is_safetensors(path) else 'PyTorch',
        'names': weights.origin or ('ours' if found or has_attention(options.get('type', '')) else 'other'),
        'entries': list(weights.entries),
        'entry': weights.key,
        'model': _model(weights, found, network, options),
        'scale': scale_in(options)[1] or (found.scale if found else None),
        'windows': list(windows_of(options)) if options and (found or 'window_sizes' in options) else None,
        'network_g': options or None,
        'parameters': dtypes.total(),
        'dtype': dict(dtypes),
        'metadata': weights.metadata,
    }


def _model(weights: Weights, found: Facts | None, network: dict[str, Any] | None, options: Mapping) -> str | None:
    """The model in words: by its own name, the paper's, or what the shapes say."""
    own_name = weights.metadata.get('name')
    if found is None:
        kind = options.get('network') if options.get('type') == 'SpandrelModel' else options.get('type')
        sizes = [known.name for known in recognised(weights.state) if known.network['type'] == kind]
        names = [str(name) for name in (own_name, ' or '.join(sizes) or kind) if name]
        return f'{names[0]} ({names[1]})' if len(names) == 2 else ''.join(names) or None
    names = published_names(network) if network else candidates(found)
    if isinstance(own_name, str):
        return f'{own_name} ({names[0]})' if names and names[0] not in own_name else own_name
    if names:
        return ' or '.join(names)
    missing = f', {" and ".join(untold(found))} unknown' if network is None else ''
    return f'{found}{missing}'
