"""Checks of options against code that is not ours: what is registered in BasicSR, and PyTorch's optimisers.

BasicSR is imported when a name is looked up, so what was registered until then is known.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import AfterValidator

from sst.options.advice import advice
from sst.options.faults import Fault, fault, not_one_of, shown, unknown_key
from sst.utils.suggest import did_you_mean

WHAT = {
    'ARCH': 'a network that is registered in BasicSR',
    'DATASET': 'a dataset that is registered in BasicSR',
    'LOSS': 'a loss that is registered in BasicSR',
    'METRIC': 'a metric that is registered in BasicSR',
    'MODEL': 'a model that is registered in BasicSR',
}
# Names that exist but would end a run at its first step, its first validation or, the losses, train nothing of use.
UNFIT = {
    'LBFGS': 'computes the loss several times per step',
    'SparseAdam': 'takes sparse gradients only',
    'GANLoss': 'needs a discriminator',
    'MultiScaleGANLoss': 'needs a discriminator',
    'WeightedTVLoss': 'looks at no HR picture',
    'calculate_psnr_pt': 'takes tensors, not pictures',
    'calculate_ssim_pt': 'takes tensors, not pictures',
}
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def entries(kind: str) -> dict[str, Callable]:
    """Names and objects in BasicSR's registry of that kind, a key of WHAT."""
    from basicsr.utils import registry  # its import takes seconds and registers BasicSR's own

    items = getattr(registry, f'{kind}_REGISTRY')
    return {name.removesuffix('_basicsr'): item for name, item in items}  # it finds both names


def optimisers() -> dict[str, Callable]:
    """PyTorch's optimisers by name."""
    import torch

    base = torch.optim.Optimizer
    found = {name: item for name, item in vars(torch.optim).items() if inspect.isclass(item) and issubclass(item, base)}
    return {name: item for name, item in found.items() if item is not base}


def registered(kind: str) -> AfterValidator:
    """For fields that name something in BasicSR's registry of that kind, a key of WHAT."""
    return _named_in(lambda: entries(kind), WHAT[kind])


def drivable_model() -> AfterValidator:
    """For fields that name a model: BasicSR's own lack what the driver needs (exact resume, CPU, any optimiser)."""

    def ours() -> list[str]:
        return [name for name, item in entries('MODEL').items() if inspect.isclass(item) and built_on_ours(item)]

    def built_on_ours(model: type) -> bool:
        return any(base.__name__ == 'SSTModel' for base in model.__mro__)

    return _named_in(ours, 'a model built on SSTModel')


def optimiser() -> AfterValidator:
    """For fields that name an optimiser."""
    return _named_in(optimisers, 'an optimiser of torch.optim')


def _named_in(known: Callable[[], Collection[str]], what: str) -> AfterValidator:
    def check(name: str) -> str:
        names = sorted(set(known()) - UNFIT.keys())
        if name in UNFIT:
            raise fault(f'{shown(name)}, which {UNFIT[name]}, allowed is {what} that fits ({", ".join(names)})')
        if name not in names:
            raise fault(not_one_of(name, names, what))
        return name

    return AfterValidator(check)


def call_faults(
    kind: str, section: Mapping[str, Any], given: Collection[str] = (), ours: Sequence[str] = ('type',)
) -> list[Fault]:
    """Faults of a section that becomes a call of what `type` names in a registry.

    Args:
        kind (str): of registry, a key of WHAT.
        section (Mapping): `type` and parameters of the call.
        given (Collection[str]): parameters that the call gets from the program.
        ours (Sequence[str]): keys that are no parameters.
    """
    return signature_faults(entries(kind)[section['type']], section, given, ours)


def network_scale(section: Mapping[str, Any]) -> tuple[str, Any]:
    """Key and value of a registered network's enlargement, its default included; ('', None) for one that has none."""
    parameters = parameters_of(entries('ARCH')[section['type']])
    for key in ('scale', 'upscale'):
        if key in section or key in parameters:
            return key, section[key] if key in section else parameters[key].default
    return '', None


def optimiser_faults(section: Mapping[str, Any]) -> list[Fault]:
    """Faults of `optim_g`, those that the optimiser itself finds when it is built and takes a step included."""
    name = section['type']
    faults = signature_faults(optimisers()[name], section, {'params'})
    parameters = {key: value for key, value in section.items() if key != 'type'}
    if not faults and (reason := _step_fault(optimisers()[name], parameters)):
        # The culprit is the parameter without which a step succeeds; two of them may be at fault together.
        rests = {key: {other: parameters[other] for other in parameters if other != key} for key in parameters}
        key = next((key for key, rest in rests.items() if not _step_fault(optimisers()[name], rest)), None)
        place, value = ((key,), parameters[key]) if key else ((), parameters)
        faults.append((place, f'{shown(value)}, which {name} refuses ({reason})'))
    return faults


def _step_fault(optimiser: Callable, parameters: Mapping[str, Any]) -> str:
    """Why an optimiser cannot be built or take a step on the CPU; '' where it can."""
    import torch

    # a matrix, which is all that Muon gets, or a convolution and a bias
    shapes = [(1, 1)] if optimiser.__name__ == 'Muon' else [(1, 1, 1, 1), (1,)]
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    try:
        optimiser(weights, **parameters).step()
    except Exception as error:  # optimisers index and compare what they are given
        return f'{type(error).__name__}: {error}'
    return ''


def perceptual_faults(section: Mapping[str, Any]) -> list[Fault]:
    """Faults of a `PerceptualLoss`, whose constructor would look for, or download, VGG weights first."""
    from basicsr.archs.vgg_arch import NAMES, insert_bn

    networks = NAMES | {f'{name}_bn': insert_bn(layers) for name, layers in NAMES.items()}
    network, weights = section.get('vgg_type', 'vgg19'), section['layer_weights']
    if network not in networks:
        return [(('vgg_type',), not_one_of(network, list(networks)))]
    if not isinstance(weights, Mapping) or not weights:
        return [(('layer_weights',), f'{shown(weights)}, allowed is a mapping of layers to weights, as {{conv5_4: 1}}')]
    faults: list[Fault] = []
    for layer, weight in weights.items():
        if layer not in networks[network]:
            faults.append((('layer_weights', layer), f'unknown layer{did_you_mean(layer, networks[network])}'))
        elif not _is_number(weight):
            faults.append((('layer_weights', layer), f'{shown(weight)}, allowed is a number'))
    if section.get('criterion', 'l1') not in ('l1', 'fro'):  # its l2 names a class that PyTorch does not have
        faults.append((('criterion',), not_one_of(section['criterion'], ('l1', 'fro'))))
    return faults


def signature_faults(
    target: Callable, section: Mapping[str, Any], given: Collection[str] = (), ours: Sequence[str] = ('type',)
) -> list[Fault]:
    """Unknown, missing and plainly mistyped parameters of a call; `**kwargs` excuse an unknown one only where the
    signature names none at all."""
    parameters = {key: item for key, item in parameters_of(target).items() if key not in given}
    written = {key: value for key, value in section.items() if key not in ours}
    faults: list[Fault] = []
    for key, value in written.items():
        if key in parameters:
            if allowed := _wrong_kind(value, parameters[key]):
                faults.append(((key,), f'{shown(value)}, allowed is {allowed}'))
        elif parameters or not _takes_anything(target):
            text = advice(key, ('',)) or unknown_key(key, [*ours, *parameters], f' with type {section["type"]}')
            faults.append(((key,), text))
    faults += [
        ((key,), f'missing, required by {section["type"]}')
        for key, item in parameters.items()
        if item.default is inspect.Parameter.empty and key not in written
    ]
    return faults


def parameters_of(target: Callable) -> dict[str, inspect.Parameter]:
    """Named parameters of a function or constructor, with those that a class hands on to its bases as `**kwargs`."""
    if not inspect.isclass(target):
        return _named(target)
    found: dict[str, inspect.Parameter] = {}
    for cls in target.__mro__:
        constructor = vars(cls).get('__init__')
        if constructor:
            found = _named(constructor, skip=1) | found
            if not _takes_anything(constructor):
                break
    return found


def _named(function: Callable, skip: int = 0) -> dict[str, inspect.Parameter]:
    items: Iterable = list(inspect.signature(function).parameters.items())[skip:]
    return {key: item for key, item in items if item.kind in NAMED}


def _takes_anything(function: Callable) -> bool:
    kinds = (item.kind for item in inspect.signature(function).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds


def _wrong_kind(value: Any, parameter: inspect.Parameter) -> str:
    """What is allowed in place of the value, as far as default and annotation tell; '' if the value may be right."""
    default = parameter.default
    if isinstance(default, bool):
        return '' if isinstance(value, bool) else 'true or false'
    if default is None and set(get_args(parameter.annotation)) == {bool, type(None)}:
        return '' if value is None or isinstance(value, bool) else 'true, false or null'
    if isinstance(default, (int, float)):
        return '' if _is_number(value) else 'a number'
    if isinstance(default, str):
        return '' if isinstance(value, str) else 'a text'
    if isinstance(default, (list, tuple)):
        return '' if isinstance(value, (list, tuple)) else 'a list'
    return ''


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
