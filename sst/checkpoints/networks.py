"""Networks from their options (`network_g`) and weights, and the options of an existing network."""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sst.archs import AttentionNetwork
from sst.checkpoints.fitting import fitting
from sst.checkpoints.weights import Weights
from sst.options.imports import load_parts
from sst.options.merging import read_chain
from sst.options.references import resolve
from sst.options.registries import NETWORKS, network_faults, network_scale
from sst.utils.errors import UserError, reason_of
from sst.utils.meta import on_meta
from sst.utils.suggest import did_you_mean

PATH = re.compile(r'[/\\.]')  # in a text that may name a file
OF_THE_MACHINE = ('backend', 'attention_dtype')  # options that belong to no file


def options_of(net: nn.Module) -> dict[str, Any] | None:
    """`network_g` without what belongs to a machine: who computes the attention, and in which format.

    None for a network of others that was not built from options here: its options are unknown.
    """
    if isinstance(net, AttentionNetwork):
        return {key: value for key, value in net.options.items() if key not in OF_THE_MACHINE}
    options = getattr(net, 'network_g', None)
    return options if isinstance(options, dict) else None


def has_attention(kind: str) -> bool:
    """Whether a registered network is made of our window attention, and so has the options of a machine."""
    network = NETWORKS.get(kind)
    return isinstance(network, type) and issubclass(network, AttentionNetwork)


def as_written(network: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file would hold them: lists in place of tuples."""
    return json.loads(json.dumps(network, default=str))


def build(network: Mapping[str, Any], weights: Weights, where: str) -> nn.Module:
    """The network of these options with these weights, in float32 on the CPU and in evaluation mode.

    Raises:
        UserError: the options build no network, or the weights do not fit it.
    """
    try:
        net = built(network, 'meta', where)  # nothing large is built for weights that do not fit
    except UserError:  # some networks compute numbers as they are built
        net = built(network, 'cpu', where)
    state, _ = fitting(net, weights, where)
    return with_state(network, state, where)


def with_state(network: Mapping[str, Any], state: Mapping[str, Tensor], where: str = 'network_g') -> nn.Module:
    """As `build`, for a state dict that fits."""
    net = built(network, 'cpu', where)
    net.load_state_dict(state, strict=False)  # without buffers that it computes itself
    return net.eval()


def built(network: Mapping[str, Any], device: str, where: str = 'network_g') -> nn.Module:
    """The network of these options on a device; random numbers stay as they are. Raises UserError if it refuses."""
    arguments = dict(network)
    kind = arguments.pop('type')
    place = on_meta() if device == 'meta' else torch.device(device)
    try:
        with warnings.catch_warnings(action='ignore'), torch.random.fork_rng(devices=[]), place:
            net = in_unit_range(NETWORKS[kind](**arguments))
    except Exception as fault:  # constructors of other people raise anything
        raise UserError(f'{where}: {kind} cannot be built from these options: {reason_of(fault)}') from fault
    if not isinstance(net, AttentionNetwork):
        net.network_g = dict(network)  # type: ignore[assignment]  # for `options_of`; modules take any attribute
    return net


def in_unit_range(net: nn.Module) -> nn.Module:
    """The network, so that it takes and gives images in [0, 1] if its own range is [0, `rgb_range`]."""
    if getattr(net, 'rgb_range', 1) != 1:
        net.register_forward_pre_hook(_to_its_range)
        net.register_forward_hook(_from_its_range)
    return net


def _to_its_range(net: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0] * net.rgb_range, *inputs[1:])  # type: ignore[operator]  # a number


def _from_its_range(net: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output / net.rgb_range  # type: ignore[operator]  # a number


def require_known(network: Mapping[str, Any], where: str) -> None:
    """Raise UserError unless `network` names a registered network other than SST and the parameters that it takes."""
    kind = network.get('type')
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise UserError(
            f'{where}: its network {kind!r} is not registered{did_you_mean(str(kind), NETWORKS)}; for a network of '
            'your own name the file that registers it: --imports FILE.py, in Python imports=["FILE.py"]'
        )
    faults = [f'{".".join(map(str, place))}: {text}' for place, text in network_faults(network)]
    if faults:
        raise UserError(f'{where}: network_g.{"; network_g.".join(faults)}')


def require_harmless(from_file: Mapping[str, Any], network: Mapping[str, Any], where: str) -> None:
    """Raise UserError if a weights file, which anybody may have made, sets options that only a person may set.

    Some of BasicSR's networks read other files or fetch weights while they are built, as SpyNet and VGGFeatureExtractor
    do. None of these enlarges images, so none has a scale.
    """
    chosen = 'type' in from_file and network_scale(network) is None
    if chosen or any(PATH.search(text) for text in _texts(from_file)):
        raise UserError(
            f'{where}: names a network {network["type"]} that may read other files; if you trust it, name it yourself: '
            '--network FILE.yml, in Python network_g={...}'
        )


def _texts(value: Any) -> Iterator[str]:
    """The texts in an option and in those below it."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif not isinstance(value, (bool, int, float, type(None))):
        yield str(value)


def network_in_options(path: str | Path | None) -> dict[str, Any] | None:
    """`network_g` of an option file with its `_base_` files, after its `imports` are loaded; None without a file.

    Raises:
        UserError: the file cannot be read or has no `network_g` with a type.
    """
    if path is None:
        return None
    data = read_chain(path).data
    imports = data.get('imports')
    load_parts(imports if isinstance(imports, list) else [], Path(path).parent)
    try:
        network = resolve(data)[0].get('network_g')
    except ValueError as fault:
        raise UserError(f'{path}: {fault}') from None
    if not isinstance(network, dict) or not isinstance(network.get('type'), str):
        raise UserError(f'{path}: has no network_g with a type; name the option file of the network')
    return as_written(network)
