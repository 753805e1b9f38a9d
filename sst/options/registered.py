"""Checks of options against code that is not ours: what is registered in BasicSR, and PyTorch's optimisers.

BasicSR is imported when a name is looked up, so what was registered until then is known.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import AfterValidator

from sst.options.advice import advice
from sst.options.faults import Fault, fault, not_one_of, shown, unknown_key

WHAT = {
    'ARCH': 'a network that is registered in BasicSR',
    'DATASET': 'a dataset that is registered in BasicSR',
    'LOSS': 'a loss that is registered in BasicSR',
    'METRIC': 'a metric that is registered in BasicSR',
    'MODEL': 'a model that is registered in BasicSR',
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
        names = sorted(known())
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
    """Faults of `optim_g`, those that the optimiser itself would find included."""
    import torch

    name = section['type']
    faults = signature_faults(optimisers()[name], section, {'params'})
    if not faults:
        parameters = {key: value for key, value in section.items() if key != 'type'}
        try:
            optimisers()[name]([torch.nn.Parameter(torch.zeros(1))], **parameters)
        except Exception as error:  # constructors index and compare what they are given
            key = next((key for key in parameters if key.rstrip('s') in str(error)), None)  # "Invalid beta parameter"
            place, value = ((key,), parameters[key]) if key else ((), parameters)
            faults.append((place, f'{shown(value)}, which {name} refuses ({type(error).__name__}: {error})'))
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
            if allowed := _wrong_kind(value, parameters[key].default):
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


def _wrong_kind(value: Any, default: Any) -> str:
    """What is allowed in place of the value, as far as the parameter's default tells; '' if the value may be right."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool):
        return '' if isinstance(value, bool) else 'true or false'
    if isinstance(default, (int, float)):
        return '' if number else 'a number'
    if isinstance(default, str):
        return '' if isinstance(value, str) else 'a text'
    if isinstance(default, (list, tuple)):
        return '' if isinstance(value, (list, tuple)) else 'a list'
    return ''
