"""Reading weights files of any origin into a network, and saying in words why one does not fit."""

import math
from collections.abc import Iterator, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from sst.checkpoints.facts import Facts, facts, plain
from sst.checkpoints.weights import Weights, read_weights
from sst.rivals.recognition import COMPUTED, differences
from sst.utils.errors import UserError


class MisfitError(UserError):
    """The weights of another network of ours: the facts of `theirs` and `ours`, and their windows if known."""

    def __init__(self, text: str, theirs: Facts, ours: Facts, windows: tuple[int, ...]) -> None:
        super().__init__(text)
        self.theirs, self.ours, self.windows = theirs, ours, windows


def load_weights(net: nn.Module, path: str, param_key: str | None = None, **how: bool) -> str:
    """Load a weights file into a network; arguments and errors as for `fitting_weights`. Returns a text for the log."""
    state, report = fitting_weights(net, path, param_key, **how)
    net.load_state_dict(state, strict=False)
    return report


def fitting_weights(
    net: nn.Module, path: str, param_key: str | None = None, *, average: bool = True, **how: bool
) -> tuple[dict[str, Tensor], str]:
    """As `fitting`, for the weights in a file; `param_key` and `average` as for `read_weights`."""
    weights = read_weights(path, param_key, average=average, own=net.state_dict().keys())
    return fitting(net, weights, path, **how)


def fitting(
    net: nn.Module, weights: Weights, path: str, *, strict: bool = True, transfer: bool = False
) -> tuple[dict[str, Tensor], str]:
    """Those weights that a network is to load.

    Args:
        net (nn.Module): the bare network. It may be on `meta`: its shapes are enough.
        weights (Weights): what is there.
        path (str): their file's name in messages.
        strict (bool): every weight must fit; else those that fit are taken.
        transfer (bool): weights may start a network of ours at a larger scale: the upsampling convolution is resized.

    Returns:
        tuple: names to tensors, and a text for the log.

    Raises:
        MisfitError: they are those of another network of ours; the error says which facts differ.
        UserError: they do not fit, or are not finite numbers.
    """
    own = net.state_dict()
    state = _for_this_network(net, weights.state)
    report = f'Loaded {path} ({weights.key})'
    trained = weights.windows
    used = getattr(net, 'windows', ())
    if trained and used and trained != used:  # no shape tells
        report += f', trained with windows {plain(trained)}, used with {plain(used)}'
    theirs, ours = facts(state), facts(own)
    if theirs and ours and transfer and theirs.scale and ours.scale and theirs.scale < ours.scale:
        report += f', its upsampling convolution resized from x{theirs.scale} to x{ours.scale}'
        state = resize_upsampling(state, theirs.scale, ours.scale)
        theirs = theirs.with_scale(ours.scale)
    if strict and theirs and ours and theirs != ours:
        what = '; '.join(_differences(theirs, ours))
        text = f'{path}: does not fit network_g: {what} (the file holds an {theirs})'
        raise MisfitError(text, theirs, ours, trained)
    misfits = [name for name in own if name not in state or own[name].shape != state[name].shape]
    extra = [name for name in state if name not in own]
    misfits, extra = ([name for name in names if not COMPUTED.search(name)] for names in (misfits, extra))
    if strict and (misfits or extra):
        options = getattr(net, 'network_g', None)
        told = differences(weights.state, options) if isinstance(options, Mapping) else ''
        told = told or _misfit(own, state, misfits, extra)
        raise UserError(f'{path}: does not fit network {type(net).__name__}: {told}')
    taken = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    _require_numbers(path, taken, net)
    if misfits or extra:
        report += f', without {len(misfits)} weights that do not fit and {len(extra)} unknown ones'
    return taken, report


def _for_this_network(net: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under the network's names, where it knows other names of its own."""
    translate = getattr(net, 'translated', None)
    return translate(dict(state)) if callable(translate) else state


def _misfit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], misfits: list[str], extra: list[str]) -> str:
    """How many weights do not fit, and some of them."""
    shapes = [
        f'{name} ({tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the network)'
        for name in misfits
        if name in state
    ]
    examples = ', '.join(shapes[:1] or misfits[:3] or extra[:3])
    return (
        f'{len(misfits)} weights are missing or of another shape and {len(extra)} unknown, such as {examples}; in '
        'training, path.strict_load_g: false takes what fits'
    )


def _require_numbers(path: str, state: Mapping[str, Tensor], net: nn.Module) -> None:
    """Refuse integers and complex numbers in place of real ones, and parameters that are NaN or infinite in the
    network's number format. Buffers may hold infinities, as masks do."""
    own = net.state_dict()
    for name, value in state.items():
        if own[name].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix('torch.')
            raise UserError(
                f'{path}: holds weights that are {kind} (first: {name}); they must be floating-point numbers'
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
    in_file, in_network = ({'type': known.type, **dict(known.named())} for known in (theirs, ours))
    for name in dict.fromkeys([*in_file, *in_network]):
        # As text, because heads 3 3 3 and 3 3 differ only in the number of layers, which has a line of its own.
        file, network = plain(in_file.get(name)), plain(in_network.get(name))
        if file != network:
            yield f'{name} is {file} in the file, {network} in network_g'
