"""What can be said about a weights file."""

from pathlib import Path
from typing import Any

from sst.interop.facts import Facts, facts, untold
from sst.interop.pretrained import UntoldError, candidates, network_in
from sst.interop.published import published_names
from sst.interop.weights import Weights, read_weights
from sst.utils.safetensors_files import is_safetensors


def describe(path: str | Path, param_key: str | None = None) -> dict[str, Any]:
    """What a weights file tells, as JSON can hold it; None where it does not tell.

    Returns:
        dict: `file`, `bytes`, `format` (safetensors or PyTorch), `names` (ours, released or other), `entries` that may
            hold a network and `entry`, the one described, which `param_key` chooses; `model`, `scale`, `windows`,
            `network_g`; `parameters`, `dtype` with the number of weights of each; `metadata`, which may hold
            training_data.

    Raises:
        UserError: a file that is missing, broken, no weights or contradicts itself.
    """
    path = Path(path)
    weights = read_weights(str(path), param_key)
    found = facts(weights.state)
    network = _network(weights, path, found)
    size: dict[str, int] = {}
    for value in weights.state.values():
        kind = str(value.dtype).removeprefix('torch.')
        size[kind] = size.get(kind, 0) + value.numel()
    return {
        'file': str(path),
        'bytes': path.stat().st_size,
        'format': 'safetensors' if is_safetensors(path) else 'PyTorch',
        'names': 'released' if weights.released else 'ours' if found else 'other',
        'entries': list(weights.entries),
        'entry': weights.key,
        'model': _model(weights, found, network),
        'scale': (network or {}).get('scale') or (found.scale if found else None),
        'windows': list(network['window_sizes']) if network else None,
        'network_g': network or weights.network_g,
        'parameters': sum(size.values()),
        'dtype': size,
        'metadata': weights.metadata,
    }


def _network(weights: Weights, path: Path, found: Facts | None) -> dict[str, Any] | None:
    if found is None:
        return None
    try:
        return network_in(weights, str(path), {})
    except UntoldError:
        return None


def _model(weights: Weights, found: Facts | None, network: dict[str, Any] | None) -> str | None:
    """The model in words: by its own name, the paper's, or what the shapes say."""
    if found is None:
        told = (weights.network_g or {}).get('type')
        return str(told) if told else None
    names = published_names(network) if network else candidates(found)
    if isinstance(name := weights.metadata.get('name'), str):
        return f'{name} ({names[0]})' if names and names[0] not in name else name
    if names:
        return ' or '.join(names)
    open_ = f', {" and ".join(untold(found))} untold' if network is None else ''
    return f'SST of {found}{open_}'
