"""`${...}` in option files: references to other keys, and `${mul:a,b}` for a product."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sst.options.faults import Fault, dotted, shown
from sst.options.faults import Path as Place
from sst.options.reading import count_values, whole
from sst.utils.suggest import did_you_mean

MOST_FOLLOWED = 1000  # references of all files together, those they lead to included; ours have some fifty


def _product(left: Any, right: Any) -> Any:
    for factor in (left, right):
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            raise ValueError(f'mul takes two numbers, not {factor!r}')
    return whole(left * right)


with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # OmegaConf 2.4 calls it register_resolver, which in 2.3 was something else
    OmegaConf.register_new_resolver('mul', _product, replace=True)


def resolve(data: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A copy with every `${...}` replaced by its value, and the faults of those that have none.

    Raises:
        ValueError: the references lead to too many others.
    """
    faults: list[Fault] = []
    data = _readable(data, (), faults)
    _require_few(data)
    config = OmegaConf.create(data)

    def plain(value: Any, parent: Any, place: Place) -> Any:
        """`value` stands at `place`; `parent` is OmegaConf's view of the mapping or list that holds it."""
        key = place[-1]
        if isinstance(value, dict):
            return {inner: plain(item, parent[key], (*place, inner)) for inner, item in value.items()}
        if isinstance(value, list):
            return [plain(item, parent[key], (*place, inner)) for inner, item in enumerate(value)]
        if not _refers(value):
            return value
        try:
            found = parent[key]
            return OmegaConf.to_container(found, resolve=True) if isinstance(found, Container) else found
        except (OmegaConfBaseException, RecursionError) as error:
            faults.append((place, _unresolved(value, error, data)))
            return value

    return {key: plain(value, config, (key,)) for key, value in data.items()}, faults


def without_followers(faults: list[Fault], data: dict[str, Any]) -> list[Fault]:
    """The faults but for those of values that refer to a faulty key: mending that one mends them."""
    faulty = {dotted(place) for place, _ in faults}
    independent = [(place, text) for place, text in faults if not faulty & _followed(place, data)]
    return independent or faults


def source_of(place: Place, data: dict[str, Any]) -> Place:
    """The place that a value is taken from if it is nothing but a reference, else its own."""
    value = _at(place, data)
    whole_reference = isinstance(value, str) and re.fullmatch(r'\$\{[\w.\[\]]+\}', value)
    return next(_targets(value, place)) if whole_reference else place


def _followed(place: Place, data: Any) -> set[str]:
    """The keys that the value at a place, which need not be there, refers to."""
    value = _at(place, data)
    return {dotted(target) for target in _targets(value, place)} if isinstance(value, str) else set()


def _require_few(data: dict[str, Any]) -> None:
    """Refuse references that multiply, as a: ${b}${b}, b: ${c}${c}: OmegaConf follows each one wherever it stands."""
    costs: dict[Place, int] = {}

    def cost(place: Place) -> int:
        if place not in costs:
            costs[place] = 0  # of one that leads back to itself, which OmegaConf tells
            value = _at(place, data)
            if isinstance(value, (dict, list)):
                keys = value if isinstance(value, dict) else range(len(value))
                costs[place] = sum(cost((*place, key)) for key in keys)
            elif _refers(value):
                costs[place] = sum(
                    1 + count_values(_at(target, data)) + cost(target) for target in _targets(value, place)
                )
        return costs[place]

    try:
        total = cost(())
    except RecursionError:
        total = MOST_FOLLOWED + 1
    if total > MOST_FOLLOWED:
        raise ValueError(f'its ${{...}} lead to more than {MOST_FOLLOWED} others; write values in their place')


def _targets(text: str, place: Place) -> Iterator[Place]:
    """The places that the references in a text at a place name, which need not be there."""
    for dots, keys in re.findall(r'\$\{(\.*)([\w.\[\]]*)\}', text):
        above = place[: -len(dots)] if dots else ()
        yield (*above, *(int(key) if key.isdecimal() else key for key in re.findall(r'\w+', keys)))


def _at(place: Place, data: Any) -> Any:
    """The value at a place, None where there is nothing."""
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _refers(value: Any) -> bool:
    return isinstance(value, str) and '${' in value


def _readable(value: Any, place: Place, faults: list[Fault]) -> Any:
    """A copy with null for each text that OmegaConf, which would read none of the data then, cannot parse."""
    if isinstance(value, dict):
        return {key: _readable(item, (*place, key), faults) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item, (*place, index), faults) for index, item in enumerate(value)]
    if _refers(value) and not _well_formed(value):
        faults.append((place, f'write ${{key}}, ${{section.key}} or ${{mul:a,b}}, not {shown(value)}'))
        return None
    return value


def _well_formed(text: str) -> bool:
    """Whether its references are of the kinds we follow; OmegaConf has others, that read the environment among them."""
    if text.count('${') != len(re.findall(r'\$\{(?:\.*[\w.\[\]]+\}|mul:)', text)):
        return False
    try:
        OmegaConf.create([text])
    except OmegaConfBaseException:
        return False
    return True


def _unresolved(text: str, error: Exception, data: dict[str, Any]) -> str:
    reason = str(error).partition('\n')[0].rstrip('.')
    missing = re.search("Interpolation key '([^']+)' not found", reason)
    near = did_you_mean(missing[1], _dotted_keys(data, '')) if missing else ''
    return f'{shown(text)} cannot be followed ({reason}){near}'


def _dotted_keys(data: dict[str, Any], above: str) -> Iterator[str]:
    for key, value in data.items():
        yield above + key
        if isinstance(value, dict):
            yield from _dotted_keys(value, f'{above}{key}.')
