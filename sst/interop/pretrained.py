"""Networks to and from files that tell everything: weights, options with windows, and where they come from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sst.archs import SST
from sst.archs.sst_options import SSTOptions
from sst.interop.checkpoint import fitting
from sst.interop.facts import Facts, facts, network_of, untold
from sst.interop.published import PUBLISHED, published_names
from sst.interop.sources import CONFIG, IN_A_FOLDER, find_weights
from sst.interop.weights import STATED, Weights, read_weights, require_description
from sst.utils.errors import UserError
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text
from sst.utils.safetensors_files import write_safetensors

OF_THE_MACHINE = ('backend', 'attention_dtype')  # options that belong to no file


class UntoldError(UserError):
    """A weights file that leaves options open which no shape tells."""


def save_pretrained(net: SST, path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a network to a file that `from_pretrained`, `load_model`, spandrel and path.pretrain_network_g read.

    Args:
        net (SST): the network; its weights keep their dtype.
        path (str | Path): a `.safetensors` file, or a folder for `model.safetensors` and `config.json`, as the Hugging
            Face hub has them.
        metadata (Mapping | None): what else the file is to tell, as JSON: `name`, `training_data`, `licence`, ...

    Returns:
        Path: the file with the weights.

    Raises:
        TypeError: another network, or metadata that JSON cannot hold.
        UserError: weights that are not finite, or a file that cannot be written.
    """
    if not isinstance(net, SST):
        raise TypeError(f'save_pretrained takes an SST, not {type(net).__name__}')
    network = architecture(net)
    state = net.state_dict()
    if wrong := [name for name, value in state.items() if not value.isfinite().all()]:
        raise UserError(f'the weights are not finite (first: {wrong[0]}), so they were not saved to {path}')
    texts = {'format': 'pt', 'network_g': json_text(network)}
    if metadata:
        texts['metadata'] = json_text(dict(metadata), ensure_ascii=False)
    stated = {key: torch.tensor(network[key], dtype=torch.int32) for key in STATED}
    path = Path(path).expanduser()
    file = path if path.suffix == '.safetensors' else path / IN_A_FOLDER
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, state | stated, texts)
    if file != path:
        config = {'model_type': 'sst', 'network_g': network, 'metadata': dict(metadata or {})}
        atomic_write_text(path / CONFIG, json_text(config, indent=2, ensure_ascii=False) + '\n')
    return file


def architecture(net: SST) -> dict[str, Any]:
    """`network_g` without what belongs to a machine: who computes the attention, and in which format."""
    return {key: value for key, value in net.options.items() if key not in OF_THE_MACHINE}


def from_pretrained(
    source: str | Path,
    *,
    window_sizes: Sequence[int] | None = None,
    num_heads: Sequence[int] | int | None = None,
    scale: int | None = None,
    param_key: str | None = None,
    backend: str = 'auto',
) -> SST:
    """The network in a weights file of any origin, in float32 on the CPU and in evaluation mode.

    Args:
        source (str | Path): as for `find_weights`: a file, a folder, a shipped name, `hf://owner/repo/file`.
        window_sizes, num_heads, scale: options that the file does not tell. Released files never tell their windows;
            those of the other options that the weights' shapes leave open are asked for by name.
        param_key (str | None): the entry of the file to take; None as for `read_weights`.
        backend (str): who computes the attention.

    Raises:
        UntoldError: for options that are left open, with what to pass.
        UserError: a file that is missing, broken, or none of an SST; or that tells otherwise than the arguments.
    """
    path = find_weights(source)
    weights = read_weights(str(path), param_key)
    asked = {'window_sizes': window_sizes, 'num_heads': num_heads, 'scale': scale}
    network = network_in(weights, str(path), {key: value for key, value in asked.items() if value is not None})
    return build(network | {'backend': backend}, weights, str(path))


def build(network: Mapping[str, Any], weights: Weights, where: str) -> SST:
    """The network of these options with these weights, in evaluation mode. Raises UserError where they do not fit."""
    with torch.device('meta'):
        net = SST(**network)
    state, _ = fitting(net, weights, where)
    return with_state(network, state)


def with_state(network: Mapping[str, Any], state: Mapping[str, Tensor]) -> SST:
    """The network of these options with these weights, in float32 on the CPU and in evaluation mode."""
    with torch.device('meta'):  # no random numbers are drawn
        net = SST(**network)
    net = net.to_empty(device='cpu')
    net.load_state_dict(state)
    return net.eval()


def network_in(weights: Weights, where: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """`network_g` of the SST in a file, complete, but for `backend` and `attention_dtype`, which are the machine's.

    Args:
        weights (Weights): the file's.
        where (str): its name, for errors, and where `config.json` may lie beside it.
        asked (Mapping): those of `STATED` that the caller gives.

    Raises:
        UntoldError, UserError: as `from_pretrained`.
    """
    found = facts(weights.state)
    if found is None:
        first = next(iter(weights.state))
        raise UserError(f'{where}: holds no SST but {len(weights.state)} other weights, such as {first}')
    told = weights.network_g or _beside(Path(where))
    if told is None:
        stated = {**asked, **weights.stated}
        _require_told(found, stated, where)
        told = network_of(found, stated)
    if told.get('type', 'SST') != 'SST':
        raise UserError(f'{where}: holds a network {told["type"]}; only SST is built from a weights file')
    network = SSTOptions.parse(told, where=f'{where}: network_g').model_dump()
    wanted = SSTOptions.parse(network | dict(asked)).model_dump()
    for key in asked:
        if network[key] != wanted[key]:
            raise UserError(f'{where}: has {key} {network[key]}, not {wanted[key]}; leave the argument out')
    return {key: value for key, value in network.items() if key not in OF_THE_MACHINE}


def network_for_options(source: str, given: Mapping[str, Any], key: str | None) -> tuple[Path, dict[str, Any]]:
    """The file that `source` names (as for `find_weights`) and `network_g` of its weights, for option files.

    Args:
        source (str): as for `find_weights`.
        given (Mapping): what the option file itself says of the network, for what the weights leave open.
        key (str | None): the entry of the file to take; None as for `read_weights`.

    Raises:
        UserError: as `from_pretrained`.
    """
    path = find_weights(source)
    weights = read_weights(str(path), key)
    network = weights.network_g or {}
    if network.get('type', 'SST') == 'SST':
        try:
            network = network_in(weights, str(path), {})
        except UntoldError:
            asked = {key: given[key] for key in STATED if key in given and key not in weights.stated}
            try:
                network = network_in(weights, str(path), asked)
            except UntoldError as fault:
                raise UserError(f'{fault}; that is: --force_yml network_g:KEY=VALUE, without blanks') from fault
    return path, json.loads(json.dumps(network, default=str))  # as an option file would hold it


def _beside(path: Path) -> dict[str, Any] | None:
    """`network_g` from the `config.json` that belongs to a `model.safetensors`."""
    if path.name != IN_A_FOLDER or not (config := path.with_name(CONFIG)).is_file():
        return None
    try:
        content = json.loads(config.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as fault:
        raise UserError(f'{config}: cannot be read as JSON: {" ".join(str(fault).split())}') from fault
    network = content.get('network_g') if isinstance(content, dict) else None
    require_description(network, f'{config}: its network_g')
    return network if isinstance(network, dict) else None


def _require_told(found: Facts, stated: Mapping[str, Any], where: str) -> None:
    """Raise UntoldError for what neither shapes nor `stated` tell, saying what to pass."""
    missing = [key for key in untold(found) if key not in stated]
    if not missing:
        return
    advice = []
    if 'window_sizes' in missing:
        windows = {name: PUBLISHED[name]['window_sizes'] for name in candidates(found)}
        choices = ', '.join(f'window_sizes={sizes} if it is {name}' for name, sizes in windows.items())
        layers = f'window_sizes=[...], {found.layers} sizes as in the option file that it was trained with'
        advice.append(choices or layers)
    if 'num_heads' in missing:
        advice.append('num_heads=N as in the option file that it was trained with')
    if 'scale' in missing:
        advice.append('scale=2 or scale=3')
    raise UntoldError(
        f'{where}: does not tell its {" and ".join(missing)}, and no shape does; pass {"; ".join(advice)}'
    )


def candidates(found: Facts) -> list[str]:
    """The models of the paper that weights of these facts may be, windows aside."""
    stand_in = {'window_sizes': [8] * found.layers, 'num_heads': 1, 'scale': 2}
    try:
        return published_names(network_of(found, stand_in), any_windows=True)
    except UserError:  # shapes that no options have
        return []
