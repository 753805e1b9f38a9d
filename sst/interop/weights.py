"""Reading the weights in a file, whoever wrote it."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from sst.interop.entries import entries, network_entry
from sst.interop.official import convert_state_dict, is_released
from sst.utils.errors import UserError
from sst.utils.files import load_torch
from sst.utils.safetensors_files import is_safetensors, read_safetensors

DEEPEST, MOST_VALUES = 50, 100_000  # of what a file tells beside its weights
TOO_DEEP = (
    f'is nested more than {DEEPEST} deep or holds more than {MOST_VALUES} values, so it describes no weights; write '
    'the file anew with sst.save_pretrained, or take another'
)
# Small integer tensors among the weights: what no shape tells, for programs that see the tensors alone.
STATED = ('window_sizes', 'num_heads', 'scale')


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        state: names (ours) to tensors.
        key: the entry of the file that they were under, as `params_ema` or `state_dict.generator`.
        network_g: the options of the network, where the file tells them all.
        stated: those of `STATED` that it tells, as numbers and tuples of numbers.
        metadata: what else it tells, as written by `save_pretrained`.
        entries: the entries that may hold a network.
        released: whether the weights bore the released names.
    """

    state: dict[str, Tensor]
    key: str
    network_g: dict | None
    stated: dict[str, Any]
    metadata: dict[str, Any]
    entries: tuple[str, ...]
    released: bool

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows that the file tells; () where it tells none in our form."""
        windows = (self.network_g or {}).get('window_sizes') or self.stated.get('window_sizes')
        whole = isinstance(windows, (list, tuple)) and all(type(size) is int for size in windows)
        return tuple(windows) if windows and whole else ()


def read_weights(
    path: str, param_key: str | None = None, *, average: bool = True, own: Collection[str] = ()
) -> Weights:
    """The weights in a file, under our names.

    Args:
        path (str): a file of `torch.save` or a safetensors file, whatever its name, of any program.
        param_key (str | None): which entry to take. None: the moving average (`params_ema`) where there is one, else
            the weights (`params`, `state_dict`, ...), else the file itself as a plain state dict.
        average (bool): whether None may mean the moving average.
        own (Collection): the names of the network's weights, where it is known.

    Raises:
        UserError: for a file that is missing, broken or not weights, lacks `param_key`, leaves open which entry is
            meant, contradicts itself or holds sparse, quantised or `meta` tensors.
    """
    if not is_safetensors(path):
        return weights_in(load_torch(path), path, param_key, average=average, own=own)
    tensors, texts = read_safetensors(path)
    told = {key: _from_json(texts[key], f'{path}: its {key}') for key in ('network_g', 'metadata') if key in texts}
    others = {key: text for key, text in texts.items() if key not in ('network_g', 'metadata', 'format')}
    metadata = told.get('metadata')
    told['metadata'] = others | (metadata if isinstance(metadata, dict) else {})
    return weights_in(tensors | told, path, param_key, average=average, own=own)


def weights_in(
    content: object, where: str, param_key: str | None = None, *, average: bool = True, own: Collection[str] = ()
) -> Weights:
    """The weights in what a file holds; `where` is its name in errors, the rest as for `read_weights`."""
    if not isinstance(content, dict) or not content:
        raise UserError(
            f'{where}: holds no weights but a {type(content).__name__}; expected a dict with params or params_ema'
        )
    key, state = network_entry(content, where, param_key, average, frozenset(own))
    for name, value in state.items():
        if form := _special_form(value):
            raise UserError(f'{where}: holds weights that are {form} (first: {name}); allowed are plain tensors')
    stated = _take_stated(state)
    released = is_released(state)
    if released:
        try:
            state = convert_state_dict(state, released_structure(state))
        except ValueError as error:
            raise UserError(f'{where}: {error}') from error
    options, metadata = content.get('network_g'), content.get('metadata')
    for part, told in (('network_g', options), ('metadata', metadata)):
        require_description(told, f'{where}: its {part}')
    weights = Weights(
        state,
        key or 'the file itself',
        options if isinstance(options, dict) else None,
        stated,
        metadata if isinstance(metadata, dict) else {},
        entries(content),
        released,
    )
    _require_one_truth(weights, where)
    return weights


def _take_stated(state: dict[str, Tensor]) -> dict[str, Any]:
    """Take the tensors of `STATED` out of a state dict. Only beside windows: other networks have a weight `scale`."""
    stated = {name: state[name] for name in STATED if name in state and not state[name].is_floating_point()}
    if 'window_sizes' not in stated:
        return {}
    for name in stated:
        del state[name]
    return {name: tuple(value.tolist()) if value.dim() else value.item() for name, value in stated.items()}


def _require_one_truth(weights: Weights, where: str) -> None:
    """Refuse a file whose tensors and options say different things: one of them was edited."""
    for name, value in weights.stated.items():
        told = (weights.network_g or {}).get(name, value)
        if name != 'scale' and isinstance(told, int):  # one number for all layers
            told = [told] * len(value)
        if (tuple(told) if isinstance(told, list) else told) != value:
            raise UserError(
                f'{where}: contradicts itself: {name} is {value} among its tensors, {told} in its network_g; write it '
                'anew with sst.save_pretrained'
            )


def _from_json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise UserError(f'{what} {TOO_DEEP}') from None


def require_description(value: object, what: str) -> None:
    """Refuse what could not be looked through in any reasonable time or depth."""
    level, count = [value], 1
    for _ in range(DEEPEST):
        level = list(islice(chain.from_iterable(map(_held, level)), MOST_VALUES))
        count += len(level)
        if not level:
            return
        if count > MOST_VALUES:  # it may hold the same part many times over
            break
    raise UserError(f'{what} {TOO_DEEP}')


def _held(value: object) -> Iterable:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple, set)) else ()


def _special_form(value: Tensor) -> str:
    """What keeps a tensor from being read value by value; '' for a plain one."""
    if value.is_meta:
        return 'without values (on meta)'
    if value.is_quantized:
        return 'quantised'
    return '' if value.layout == torch.strided else 'sparse'


def released_structure(state: Mapping[str, Tensor]) -> dict:
    """The part of `network_g` that `convert_state_dict` needs, read off released weights."""
    layers = {int(m[1]) for name in state if (m := re.match(r'body\.0\.(\d+)\.norm_attn\.', name))}
    blocks = {int(m[1]) for name in state if (m := re.match(r'body\.(\d+)\.0\.norm_attn\.', name))}
    gate = 'CLA' if 'body.0.0.attn.gate.1.weight' in state else 'pointwise'
    gate = gate if 'body.0.0.attn.gate.0.weight' in state else 'none'
    return {'num_blocks': len(blocks), 'window_sizes': [None] * len(layers), 'gate': gate}
