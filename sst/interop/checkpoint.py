"""Reading weights files of any origin into a network, and saying in words why one does not fit."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.interop.official import convert_state_dict, is_released
from sst.utils.errors import UserError
from sst.utils.files import load_torch

BIAS_BY_PARAMETER = {
    'query_weight': 'RIB',
    'query': 'FlashBias',
    'table': 'RPB',
    'frequencies': 'RoPE',
    'conv.weight': 'CPE',
}


@dataclass(frozen=True)
class Facts:
    """What the shapes of an SST state dict say about the network; None where they say nothing."""

    dim: int
    blocks: int
    layers: int
    bias: str
    heads: tuple[int, ...] | None
    ranks: tuple[int, ...] | None
    ffn_hidden: int
    gate: str
    upsampler: str
    channels: int | None
    scale: int | None

    def __str__(self) -> str:
        shown = [(f.name.replace('_', ' '), getattr(self, f.name)) for f in fields(self)]
        return ', '.join(f'{name} {_plain(value)}' for name, value in shown if value is not None)


def facts(state: Mapping[str, Tensor]) -> Facts | None:
    """Read the facts off a state dict under our names; None where it is none of an SST."""
    try:
        return _read_facts(state)
    except LookupError:  # a name or a dimension that an SST has
        return None


def _read_facts(state: Mapping[str, Tensor]) -> Facts:
    blocks = {int(m[1]) for name in state if (m := re.match(r'blocks\.(\d+)\.', name))}
    layers = sorted({int(m[1]) for name in state if (m := re.match(r'blocks\.0\.layers\.(\d+)\.', name))})
    first = 'blocks.0.layers.0.'
    bias = next((b for p, b in BIAS_BY_PARAMETER.items() if f'{first}attn.bias.{p}' in state), 'none')
    if bias == 'RIB' and state[f'{first}attn.bias.hidden_weight'].shape[0] == 2:
        bias = 'SIREN'
    heads, ranks = None, None
    main = {'RIB': 'query_weight', 'SIREN': 'query_weight', 'FlashBias': 'query', 'RPB': 'table', 'RoPE': 'frequencies'}
    if bias in main:
        shapes = [state[f'blocks.0.layers.{i}.attn.bias.{main[bias]}'].shape for i in layers]
        heads = tuple(shape[1 if bias == 'RoPE' else 0] for shape in shapes)
        ranks = tuple(shape[-1] for shape in shapes) if bias in ('RIB', 'SIREN', 'FlashBias') else None
    gate = 'CLA' if f'{first}attn.gate.depthwise.weight' in state else 'pointwise'
    gate = gate if f'{first}attn.gate.pointwise.weight' in state else 'none'
    upsampler, channels, scale = _upsampler_facts(state)
    return Facts(
        dim=state['norm.weight'].shape[0],
        blocks=len(blocks),
        layers=len(layers),
        bias=bias,
        heads=heads,
        ranks=ranks,
        ffn_hidden=state[f'{first}ffn.expand.weight'].shape[0],
        gate=gate,
        upsampler=upsampler,
        channels=channels,
        scale=scale,
    )


def _upsampler_facts(state: Mapping[str, Tensor]) -> tuple[str, int | None, int | None]:
    if 'upsampler.image_conv.weight' in state:  # x2 and x3 have the same shapes
        return (
            'nearest_conv',
            state['upsampler.reduce.weight'].shape[0],
            4 if 'upsampler.convs.1.weight' in state else None,
        )
    up = state['upsampler.up.weight']
    channels = up.shape[1] if 'upsampler.reduce.weight' in state else None
    return 'pixelshuffle' if channels else 'pixelshuffle_direct', channels, math.isqrt(up.shape[0] // (channels or 3))


@dataclass(frozen=True)
class Weights:
    """A weights file: names (ours) to tensors, the key they were under, and `network_g` where the file tells it."""

    state: dict[str, Tensor]
    key: str
    network_g: dict | None


def read_weights(path: str, param_key: str | None = None, *, average: bool = True) -> Weights:
    """The weights in a file, under our names.

    Args:
        path (str): a `.pth` file: ours, BasicSR's or a released one.
        param_key (str | None): which weights to take. None: `params_ema` where it exists, else `params`, else the file
            itself as a plain state dict.
        average (bool): whether None may mean `params_ema`.

    Raises:
        UserError: for a file that is missing, broken or not weights, lacks `param_key` or holds sparse, quantised or
            `meta` tensors.
    """
    content = load_torch(path)
    if not isinstance(content, dict) or not content:
        raise UserError(
            f'{path}: holds no weights but a {type(content).__name__}; expected a dict with params or params_ema'
        )
    keys = ('params_ema', 'params') if average else ('params',)
    by_key = {key: _tensors(content[key]) for key in keys if key in content}
    if param_key is not None:
        if not _tensors(content.get(param_key)):
            held = ', '.join(map(str, content))[:200]
            raise UserError(f'{path}: has no weights under {param_key!r} (path.param_key_g); it holds {held}')
        state = _tensors(content[param_key])
    else:
        param_key = next((key for key, tensors in by_key.items() if tensors), None)
        state = by_key[param_key] if param_key else _tensors(content)
    if not state and not average and 'params_ema' in content:
        raise UserError(f'{path}: holds averaged weights alone, which val.use_ema: false leaves out; take true')
    if not state:
        raise UserError(f'{path}: holds no weights; expected names with tensors, or params / params_ema with such')
    for name, value in state.items():
        if form := _special_form(value):
            raise UserError(f'{path}: holds weights that are {form} (first: {name}); allowed are plain tensors')
    if is_released(state):
        try:
            state = convert_state_dict(state, released_structure(state))
        except ValueError as error:
            raise UserError(f'{path}: {error}') from error
    options = content.get('network_g')
    return Weights(state, param_key or 'the file itself', options if isinstance(options, dict) else None)


def _tensors(content: object) -> dict[str, Tensor]:
    """The named tensors in a part of a file, without the prefixes that DistributedDataParallel and compile() leave."""
    if not isinstance(content, Mapping):
        return {}
    named = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    return {re.sub(r'^((module|_orig_mod)\.)+', '', name): value for name, value in named.items()}


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


def load_weights(net: nn.Module, path: str, param_key: str | None = None, **how: bool) -> str:
    """Load a weights file into a network; arguments and errors as for `fitting_weights`. Returns a text for the log."""
    state, report = fitting_weights(net, path, param_key, **how)
    net.load_state_dict(state, strict=False)
    return report


def fitting_weights(
    net: nn.Module,
    path: str,
    param_key: str | None = None,
    *,
    average: bool = True,
    strict: bool = True,
    transfer: bool = False,
) -> tuple[dict[str, Tensor], str]:
    """The weights of a file that a network is to load. The network may be on `meta`: its shapes are enough.

    Args:
        net (nn.Module): the bare network.
        path (str), param_key (str | None), average (bool): as for `read_weights`.
        strict (bool): every weight must fit; else those that fit are taken.
        transfer (bool): x2 weights may start an x3 or x4 SST: the upsampling convolution is resized.

    Returns:
        tuple: names to tensors, and what they are, for the log.

    Raises:
        UserError: where the weights do not fit: which facts differ, and what the file holds; or are no finite numbers.
    """
    weights = read_weights(path, param_key, average=average)
    state, own = weights.state, net.state_dict()
    report = f'Loaded {path} ({weights.key})'
    trained = _windows(weights.network_g)
    used = getattr(net, 'options', {}).get('window_sizes')
    if trained and used and trained != tuple(used):  # no shape tells
        report += f', trained with windows {_plain(trained)}, used with {_plain(tuple(used))}'
    theirs, ours = facts(state), facts(own)
    if theirs and ours and transfer and theirs.scale == 2 and ours.scale in (3, 4):
        state = resize_upsampling(state, 2, ours.scale)
        theirs = replace(theirs, scale=ours.scale)
        report += f', its upsampling convolution resized from x2 to x{ours.scale}'
    if strict and theirs and ours and theirs != ours:
        differences = '; '.join(_differences(theirs, ours))
        raise UserError(f'{path}: does not fit network_g: {differences} (the file holds an SST of {theirs})')
    misfits = [name for name in own if name not in state or own[name].shape != state[name].shape]
    extra = [name for name in state if name not in own]
    if strict and (misfits or extra):
        examples = ', '.join(misfits[:3] or extra[:3])
        raise UserError(
            f'{path}: does not fit network {type(net).__name__}: {len(misfits)} weights are missing or of another '
            f'shape and {len(extra)} unknown, such as {examples} (path.strict_load_g: false takes what fits)'
        )
    fitting = {name: value for name, value in state.items() if name in own and name not in misfits}
    _require_numbers(path, fitting, net)
    if misfits or extra:
        report += f', without {len(misfits)} weights that do not fit and {len(extra)} unknown ones'
    return fitting, report


def _windows(network_g: dict | None) -> tuple[int, ...]:
    """The windows that a file tells; () where it tells none in our form."""
    windows = (network_g or {}).get('window_sizes')
    return tuple(windows) if isinstance(windows, list) and all(type(size) is int for size in windows) else ()


def _require_numbers(path: str, state: Mapping[str, Tensor], net: nn.Module) -> None:
    """Refuse integers and complex numbers in place of real ones, and parameters that are NaN or infinite in the
    network's number format. Buffers may hold infinities, as masks do."""
    own = net.state_dict()
    for name, value in state.items():
        if own[name].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix('torch.')
            raise UserError(
                f'{path}: holds weights that are {kind} (first: {name}); allowed are floating-point numbers'
            )
    for name, weight in net.named_parameters():
        if name in state and not state[name].to(weight.dtype).isfinite().all():
            raise UserError(f'{path}: holds weights that are not finite (first: {name}); take an earlier checkpoint')


def resize_upsampling(state: Mapping[str, Tensor], old: int, new: int) -> dict[str, Tensor]:
    """Weights for another scale: the old x old sub-kernels of the upsampling convolution resized bilinearly.

    Its output channels are ordered c s^2 + dy s + dx; weight and bias are interpolated over (dy, dx).
    """

    def resize(tensor: Tensor) -> Tensor:
        rest = tensor.shape[1:]
        grid = tensor.reshape(-1, old, old, math.prod(rest)).permute(0, 3, 1, 2).float()  # (c, rest, dy, dx)
        grid = F.interpolate(grid, size=(new, new), mode='bilinear', align_corners=False)
        return grid.permute(0, 2, 3, 1).reshape(-1, *rest)

    return {name: resize(value) if name.startswith('upsampler.up.') else value for name, value in state.items()}


def _differences(theirs: Facts, ours: Facts) -> Iterator[str]:
    for field in fields(Facts):
        # As text, for heads 3 3 3 and 3 3 differ in the number of layers alone, which has a line of its own.
        file, network = _plain(getattr(theirs, field.name)), _plain(getattr(ours, field.name))
        if file != network:
            yield f'{field.name.replace("_", " ")} is {file} in the file, {network} in network_g'


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else ' '.join(map(str, value))
    return 'unknown' if value is None else str(value)
