"""The weights in a file, under our names."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sst.checkpoints.entries import entries, network_entry
from sst.utils.errors import UserError
from sst.utils.files import load_torch
from sst.utils.safetensors_files import is_safetensors, read_safetensors

DEEPEST, MOST_VALUES = 50, 100_000  # of what a file tells beside its weights
UNREASONABLE = (
    f'is nested more than {DEEPEST} deep or holds more than {MOST_VALUES:,} values, so it describes no weights; write '
    'the file anew with sst.save_pretrained, or take another'
)
# Options of an SST that no shape reveals. They lie among the weights as small integer tensors, for programs that see
# nothing but tensors.
STATED = ('window_sizes', 'num_heads', 'scale')

State = dict[str, Tensor]
# Who wrote weights, and a function that gives them our names, or None for weights of others. `sst/interop` adds those
# that it knows, because this room must not import it.
TRANSLATORS: dict[str, Callable[[State], State | None]] = {}


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        state: our names to tensors.
        key: the entry of the file that they were under, as `params_ema` or `state_dict.generator`.
        network_g: the options of the network, where the file holds them.
        stated: those of `STATED` that it holds, as numbers and tuples of numbers.
        metadata: what else it says, as written by `save_pretrained`.
        entries: the entries that may hold a network.
        origin: whose names the weights had, as `released`; '' for ours and unknown ones.
    """

    state: State
    key: str
    network_g: dict | None
    stated: dict[str, Any]
    metadata: dict[str, Any]
    entries: tuple[str, ...]
    origin: str = ''

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows that the file states in our form, or ()."""
        network = self.network_g or {}
        windows = network.get('window_sizes') or self.stated.get('window_sizes') or [network.get('window_size')]
        whole = isinstance(windows, (list, tuple)) and all(type(size) is int for size in windows)
        return tuple(windows) if windows and whole else ()


def read_weights(
    path: str, param_key: str | None = None, *, average: bool = True, own: Collection[str] = ()
) -> Weights:
    """Read a weights file of any program, whatever its name: safetensors, or written by `torch.save`.

    Args:
        path (str): the file.
        param_key (str | None): which entry to take. None: the moving average (`params_ema`) where there is one, else
            the weights (`params`, `state_dict`, ...), else the file itself as a plain state dict.
        average (bool): whether None may mean the moving average.
        own (Collection): the names of the network's weights, where it is known.

    Raises:
        UserError: the file is missing, broken or no weights file, lacks `param_key`, leaves open which entry is meant,
            or holds sparse, quantised or `meta` tensors.
    """
    if not is_safetensors(path):
        return weights_in(load_torch(path), path, param_key, average=average, own=own)
    tensors, texts = read_safetensors(path)
    described = {key: _from_json(texts[key], f'{path}: its {key}') for key in ('network_g', 'metadata') if key in texts}
    others = {key: text for key, text in texts.items() if key not in ('network_g', 'metadata', 'format')}
    described['metadata'] = others | _mapping(described.get('metadata'))
    return weights_in(tensors | described, path, param_key, average=average, own=own)


def weights_in(
    content: object, where: str, param_key: str | None = None, *, average: bool = True, own: Collection[str] = ()
) -> Weights:
    """The weights in what a file holds; `where` is its name in errors, the rest as for `read_weights`."""
    if not isinstance(content, dict) or not content:
        kind = type(content).__name__
        raise UserError(f'{where}: holds a {kind} and no weights; take a file with params, params_ema or a state dict')
    key, state = network_entry(content, where, param_key, average, frozenset(own))
    for name, value in state.items():
        if form := _special_form(value):
            raise UserError(
                f'{where}: holds weights that are {form} (first: {name}); save them as plain tensors where it was '
                'written'
            )
    stated = _take_stated(state)
    origin, state = _translated(state, where)
    for part in ('network_g', 'metadata'):
        require_reasonable(content.get(part), f'{where}: its {part}')
    network, metadata = (_mapping(content.get(part)) for part in ('network_g', 'metadata'))
    return Weights(state, key or 'the file itself', network or None, stated, metadata, entries(content), origin)


def on_cpu(net: nn.Module) -> dict[str, Tensor]:
    """The weights of a network as they are saved."""
    return {name: value.cpu().contiguous() for name, value in net.state_dict().items()}


def require_reasonable(value: object, what: str) -> None:
    """Raise UserError for a description that cannot be looked through in reasonable time or depth."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        inner = item.values() if isinstance(item, Mapping) else item if isinstance(item, (list, tuple, set)) else ()
        seen += len(inner)  # the same part may be in it many times over
        if depth > DEEPEST or seen > MOST_VALUES:
            raise UserError(f'{what} {UNREASONABLE}')
        waiting += [(part, depth + 1) for part in inner]


def _from_json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise UserError(f'{what} {UNREASONABLE}') from None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _translated(state: State, where: str) -> tuple[str, State]:
    for origin, translate in TRANSLATORS.items():
        try:
            if (ours := translate(state)) is not None:
                return origin, ours
        except ValueError as error:
            raise UserError(f'{where}: {error}') from error
    return '', state


def _take_stated(state: State) -> dict[str, Any]:
    """Remove the tensors of `STATED` from a state dict that has windows; other networks have a weight `scale`."""
    stated = {name: state[name] for name in STATED if name in state and not state[name].is_floating_point()}
    if 'window_sizes' not in stated:
        return {}
    for name in stated:
        del state[name]
    return {name: tuple(value.tolist()) if value.dim() else value.item() for name, value in stated.items()}


def _special_form(value: Tensor) -> str:
    """Why a tensor cannot be read value by value; '' for a plain one."""
    if value.is_meta:
        return 'without values (on meta)'
    if value.is_quantized:
        return 'quantised'
    return '' if value.layout == torch.strided else 'sparse'
