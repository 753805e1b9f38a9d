"""Saving and loading networks with everything: weights, all options, and their origin."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sst.archs import SST
from sst.checkpoints.facts import Facts, facts, network_of, own_network, untold
from sst.checkpoints.networks import (
    OF_THE_MACHINE,
    as_written,
    build,
    has_attention,
    options_of,
    require_harmless,
    require_known,
)
from sst.checkpoints.published import PUBLISHED, published_names
from sst.checkpoints.sources import CONFIG, IN_A_FOLDER, find_weights
from sst.checkpoints.weights import STATED, Weights, read_weights
from sst.options.from_weights import reads_networks
from sst.options.imports import load_parts
from sst.options.registries import NETWORKS
from sst.rivals.any_spandrel_arch import described
from sst.rivals.recognition import kinds_of, recognised
from sst.utils.errors import UserError
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text
from sst.utils.safetensors_files import write_safetensors

OTHER_FORMATS = ('.pth', '.pt', '.ckpt', '.bin', '.pkl', '.onnx', '.npz', '.h5')  # endings of other files of weights
ONE_BY_ONE = ('window_sizes', 'num_heads', 'scale')  # options of `network_g` that functions take by themselves


class MissingOptionsError(UserError):
    """A weights file that leaves options of its network open. As a text, it says what to pass in Python.

    Args:
        fault (str): what is open.
        missing (Mapping): the options of `network_g` to give, or 'network_g' for all of it; to each the values that
            are possible, as text or numbers, and what to say of them.
        more (str): the end of the text.
    """

    def __init__(self, fault: str, missing: Mapping[str, Mapping[Any, str]], more: str = '') -> None:
        self.fault, self.missing = fault, missing
        super().__init__(self.told(_in_python) + more)

    def told(self, written: Callable[[str, Any], str]) -> str:
        """The fault and what to pass, in the words of a program: `written` gives those for an option and a value."""
        choices = (
            ' or '.join(dict.fromkeys(f'{written(key, value)}{note}' for value, note in values.items()))
            for key, values in self.missing.items()
        )
        return f'{self.fault}; pass {"; ".join(dict.fromkeys(choices))}'

    def kept(self) -> str:
        """The text for a program that has no options for it."""
        return f'{self}, to sst.from_pretrained in Python, and write a new file: sst.save_pretrained(net, FILE)'


def _in_python(key: str, value: object) -> str:
    """What passes an option of `network_g` to `from_pretrained`."""
    if key == 'network_g':
        return f"network_g={{'type': '{value}', ...}}"
    return f'{key}={_listed(value)}' if key in ONE_BY_ONE else f"network_g={{'{key}': {value}}}"


def _in_options(key: str, value: object) -> str:
    """What gives an option of `network_g` to a program that reads option files."""
    if key == 'network_g':
        return f'network_g in the option file, as type: {value} with its options'
    return f'--force_yml network_g:{key}={_listed(value, ",")}'


def on_command_line(key: str, value: object, flags: Mapping[str, str], between: str) -> str:
    """What gives an option of `network_g` to a program with `--network`.

    Args:
        flags: those of the program for single options, by the names of the options.
        between: what such a flag takes between numbers.
    """
    if key not in flags:
        return '--network FILE.yml (an option file with its network_g)'
    return f'{flags[key]} {between.join(map(str, value)) if isinstance(value, tuple) else value}'


def _listed(value: object, comma: str = ', ') -> str:
    return f'[{comma.join(map(str, value))}]' if isinstance(value, tuple) else str(value)


def save_pretrained(
    net: nn.Module,
    path: str | Path,
    metadata: Mapping[str, Any] | None = None,
    *,
    network_g: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network to a file that `from_pretrained`, `load_model` and path.pretrain_network_g read.

    Args:
        net (nn.Module): an SST, or any other network that is registered in BasicSR; its weights keep their dtype.
        path (str | Path): a `.safetensors` file, or a folder for `model.safetensors` and `config.json`, as the Hugging
            Face hub has them.
        metadata (Mapping | None): what else the file is to tell, as JSON: `name`, `training_data`, `licence`, ...
        network_g (Mapping | None): the options of a network other than SST. None: those `from_pretrained` built it of.

    Returns:
        Path: the file with the weights.

    Raises:
        TypeError: the options are needed, or JSON cannot hold options or metadata.
        UserError: the network is not registered, its weights are not finite, the name ends as one of another format, or
            a file cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in OTHER_FORMATS:
        raise UserError(
            f'{path}: weights are saved as .safetensors; use {path.with_suffix(".safetensors")}, or a name without '
            'ending for a folder'
        )
    network = options_of(net) or dict(network_g or {})
    if not network:
        kind = type(net).__name__
        raise TypeError(f"{kind}: nothing tells its options; pass network_g={{'type': '{kind}', ...}}")
    if not isinstance(net, SST):
        require_known(network, f'network_g of {path}')
    state = net.state_dict()
    if wrong := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise UserError(f'the weights are not finite (first: {wrong[0]}), so they were not saved to {path}')
    texts = {'format': 'pt', 'network_g': json_text(network)}
    if metadata:
        texts['metadata'] = json_text(dict(metadata), ensure_ascii=False)
    if isinstance(net, SST):
        state |= {key: torch.tensor(network[key], dtype=torch.int32) for key in STATED}
    file = path if path.suffix == '.safetensors' else path / IN_A_FOLDER
    file.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(file, state, texts)
    if file != path:
        config = {'model_type': network['type'].lower(), 'network_g': network, 'metadata': dict(metadata or {})}
        atomic_write_text(path / CONFIG, json_text(config, indent=2, ensure_ascii=False) + '\n')
    return file


def from_pretrained(
    source: str | Path,
    *,
    network_g: Mapping[str, Any] | None = None,
    window_sizes: Sequence[int] | int | None = None,
    num_heads: Sequence[int] | int | None = None,
    scale: int | None = None,
    imports: Sequence[str] = (),
    param_key: str | None = None,
    backend: str = 'auto',
) -> nn.Module:
    """The network in a weights file of any origin, in float32 on the CPU and in evaluation mode.

    Args:
        source (str | Path): as for `find_weights`: a file, a folder, a shipped name, `hf://owner/repo/file`.
        network_g (Mapping | None): the options of the network, all or those that the file does not tell, as an option
            file has them: `{'type': 'EDSR', 'num_in_ch': 3, ...}`.
        window_sizes, num_heads, scale: the same, one by one, for SST. One number of windows or heads is for all layers.
            Released files of SST never name their windows. An error asks for the others where the shapes of the weights
            leave them open.
        imports (Sequence[str]): modules that register networks of your own, `.py` files or dotted names. Their code
            runs, so no weights file can name them.
        param_key (str | None): the entry of the file to take; None as for `read_weights`.
        backend (str): who computes the attention of SST, ESC-RIB and SSTReal.

    Raises:
        MissingOptionsError: options are left open; the error says what to pass.
        UserError: the file is missing or broken, holds another network, or its own options differ.
    """
    load_parts(imports)
    path = find_weights(source)
    weights = read_weights(str(path), param_key)
    one_by_one = {'window_sizes': window_sizes, 'num_heads': num_heads, 'scale': scale}
    given = {**(network_g or {}), **{key: value for key, value in one_by_one.items() if value is not None}}
    network = network_in(weights, str(path), given)
    return build(network | ({'backend': backend} if has_attention(network['type']) else {}), weights, str(path))


def network_in(weights: Weights, where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`network_g` of the network in a file, complete, except for options of our networks that belong to a machine.

    Args:
        weights (Weights): the file's.
        where (str): its name in errors.
        given (Mapping): what the caller says of `network_g`.

    Raises:
        MissingOptionsError, UserError: as `from_pretrained`.
    """
    found, in_file = facts(weights.state), weights.network_g
    kind = (in_file or {}).get('type') or given.get('type') or (found.type if found else 'SST' if in_file else None)
    if kind is None:
        network = _released_network(weights.state, where, given) or _recognised(weights.state, where)
        require_known({**given, **network}, where)
        _require_agreement(network, as_written(given), where)
        return network
    if (own := own_network(kind)) is None:
        network = as_written({**given, **(in_file or {})})
        require_known(network, where)
        require_harmless({key: value for key, value in (in_file or {}).items() if key not in given}, network, where)
        _require_agreement(network, as_written(given), where)
        return {key: value for key, value in network.items() if key not in OF_THE_MACHINE or not has_attention(kind)}
    if found is None or found.type != kind:
        raise UserError(f'{where}: its weights are not those of an {kind}; name their network in network_g')
    if isinstance(given.get('window_sizes'), int) and 'window_sizes' in found.options:
        given = {**given, 'window_sizes': [given['window_sizes']] * len(found.options['window_sizes'])}
    if in_file is None:
        stated = {**_only_window(found), **given, **weights.stated}
        _require_complete(found, stated, where)
        in_file = network_of(found, stated) | dict(given)
    network = own.Options.parse(in_file, where=f'{where}: network_g').model_dump()
    wanted = own.Options.parse(network | dict(given)).model_dump()
    _require_agreement(network, {key: wanted[key] for key in given}, where)
    _require_agreement(network, weights.stated, where, 'as its tensors say; write it anew with sst.save_pretrained')
    return {key: value for key, value in network.items() if key not in OF_THE_MACHINE}


def _released_network(state: Mapping[str, Tensor], where: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """`network_g` of weights of a network that is recognised in its released size alone (`released_options`)."""
    for kind, network in NETWORKS.items():
        found = network.released_options(state) if hasattr(network, 'released_options') else None
        if found:
            return as_written({'type': kind, **found, **given})
        if found is not None:
            fault = f'{where}: holds an {kind} of a size that was not released'
            raise MissingOptionsError(fault, {'network_g': {kind: ''}})
    return None


def _recognised(state: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """`network_g` of weights of a published network, or of one that spandrel knows.

    Raises:
        MissingOptionsError: they are of no known network, or of several.
    """
    known, missing = recognised(state), {'network_g': {'EDSR': ''}}
    if len(known) > 1:
        which = {item.network['type']: '' for item in known}
        raise MissingOptionsError(f'{where}: may hold {" or ".join(map(str, known))}', {'network_g': which})
    if known:
        return as_written(known[0].network)
    kinds = ' or '.join(kinds_of(state))
    unknown = (
        f'{where}: does not name its network, and the weights (first: {next(iter(state))}) are not those of an SST, '
        f'nor of {f"a published size of {kinds}" if kinds else "another network that is known here"}'
    )
    try:
        network = described(state)
    except UserError as fault:
        raise MissingOptionsError(f'{unknown} ({fault})', missing) from None
    if network is None:
        raise MissingOptionsError(f'{unknown} or to spandrel', missing)
    return as_written(network)


def _require_agreement(network: Mapping, wanted: Mapping, where: str, advice: str = 'leave the argument out') -> None:
    for key, value in wanted.items():
        if network.get(key) != value and key not in OF_THE_MACHINE:
            raise UserError(f'{where}: its network_g has {key} {network.get(key)}, not {value}; {advice}')


@reads_networks
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
    found = facts(weights.state)
    left_open = untold(found) if found and not weights.network_g else ()
    needed = {option: given[option] for option in left_open if option in given and option not in weights.stated}
    try:
        return path, as_written(network_in(weights, str(path), needed))
    except MissingOptionsError as fault:
        raise UserError(fault.told(_in_options)) from fault


def _require_complete(found: Facts, stated: Mapping[str, Any], where: str) -> None:
    """Raise MissingOptionsError for options that neither the shapes nor `stated` give. The error says what to pass."""
    missing = [key for key in untold(found) if key not in stated]
    if not missing:
        return
    own = ', as it was trained'
    values: dict[str, dict[Any, str]] = {'num_heads': {'N': own}, 'window_size': {'N': own}, 'scale': {2: '', 3: ''}}
    if 'window_sizes' in missing:
        published = {tuple(PUBLISHED[name]['window_sizes']): f' if it is {name}' for name in candidates(found)}
        values['window_sizes'] = published or {('N',) * len(found.options['window_sizes']): own}
    fault = f'{where}: does not tell its {" and ".join(missing)}, and no shape does'
    raise MissingOptionsError(fault, {key: values[key] for key in missing})


def _only_window(found: Facts) -> dict[str, int]:
    """The window of the published network of these shapes, if all its windows are equal. Published sizes with windows
    that differ exist in several kinds, so nothing is said of them."""
    models = candidates(found) if 'window_size' in untold(found) else []
    return {'window_size': PUBLISHED[models[0]]['window_size']} if len(models) == 1 else {}


def candidates(found: Facts) -> list[str]:
    """The models of the paper that weights of these facts may be, windows aside."""
    layers = len(found.options.get('window_sizes', ()))
    stand_in = {'window_sizes': [8] * layers, 'window_size': 8, 'num_heads': 1, 'scale': 2}
    try:
        return published_names(network_of(found, stand_in), any_windows=True)
    except UserError:  # shapes that no options have
        return []
