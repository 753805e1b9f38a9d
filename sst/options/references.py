"""`${...}` in option files: references to other keys, and `${mul:a,b}` for a product."""

import re
from collections.abc import Iterator
from typing import Any

from sst.options.faults import Fault, dotted, shown
from sst.options.faults import Path as Place
from sst.options.reading import MOST_VALUES, count_values, parse, whole
from sst.utils.suggest import did_you_mean

REFERENCE = re.compile(r'\$\{([^${}]*)\}')  # without another one inside
LONGEST_CHAIN = 50  # references that lead from one to the next; ours have up to three
LONGEST_TEXT = 10_000  # characters


def resolve(data: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A copy with every `${...}` replaced by its value, and the faults of those that have none, which stay."""
    resolver = _Resolver(data)
    return resolver.copy(data, ()), resolver.faults


def without_followers(faults: list[Fault], data: dict[str, Any]) -> list[Fault]:
    """Leave out the faults of values that refer to a faulty key, because they go when that one is mended."""
    faulty = {dotted(place) for place, _ in faults}
    independent = [(place, text) for place, text in faults if not faulty & _followed(place, data)]
    return independent or faults


class _Resolver:
    def __init__(self, data: dict[str, Any]) -> None:
        self.data, self.faults = data, list[Fault]()
        self.known: dict[Place, Any] = {}  # so that references which multiply are followed once each

    def copy(self, value: Any, place: Place) -> Any:
        """What stands at a place, its references followed as far as they can be."""
        if isinstance(value, dict):
            return {key: self.copy(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, (*place, index)) for index, item in enumerate(value)]
        try:
            return self.filled(value, place, 0)
        except ValueError as error:
            self.faults.append((place, str(error)))
            return value

    def filled(self, value: Any, place: Place, depth: int) -> Any:
        """The same. Raises ValueError for a reference that cannot be followed."""
        if isinstance(value, dict):
            return {key: self.filled(item, (*place, key), depth) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, (*place, index), depth) for index, item in enumerate(value)]
        text = value
        while isinstance(text, str) and (reference := REFERENCE.search(text)):
            try:
                found = self.value(reference[1], place, depth + 1)
            except ValueError as error:
                raise ValueError(f'{shown(value)} cannot be followed: {error}') from None
            start, end = reference.span()
            text = found if reference[0] == text else f'{text[:start]}{found}{text[end:]}'
            if len(text if isinstance(text, str) else '') > LONGEST_TEXT or count_values(text) > MOST_VALUES:
                raise ValueError(f'{shown(value)} leads to too many others; write the value')
        if isinstance(text, str) and '${' in text:
            raise ValueError(f'must hold ${{key}}, ${{section.key}} or ${{mul:a,b}}, not {shown(value)}')
        return text

    def value(self, name: str, place: Place, depth: int) -> Any:
        """The value of the reference `${name}` in the text at a place."""
        if factors := re.fullmatch(r'mul:([^,]*),([^,]*)', name):
            return _product(*map(parse, factors.groups()))
        if not re.fullmatch(r'[\w.\[\]]+', name):
            raise ValueError('write ${key}, ${section.key} or ${mul:a,b}')
        if depth > LONGEST_CHAIN:
            raise ValueError('it leads back to itself')
        target = _target(name, place)
        if target not in self.known:
            try:
                found = _at(target, self.data)
            except LookupError:
                near = did_you_mean(name, _dotted_keys(self.data, ''))
                raise ValueError(f'there is no key {dotted(target)}{near}') from None
            self.known[target] = self.filled(found, target, depth)
        return self.known[target]


def _product(left: Any, right: Any) -> Any:
    for factor in (left, right):
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            raise ValueError(f'mul needs two numbers, not {shown(factor)}')
    return whole(left * right)


def _followed(place: Place, data: Any) -> set[str]:
    """The keys that the text at a place, which need not be there, refers to."""
    try:
        value = _at(place, data)
    except LookupError:
        return set()
    names = REFERENCE.findall(value) if isinstance(value, str) else []
    return {dotted(_target(name, place)) for name in names}


def _target(name: str, place: Place) -> Place:
    """The place that a reference in the text at a place names; dots in front of it mean the section of that text."""
    dots = len(name) - len(name.lstrip('.'))
    return (*(place[:-dots] if dots else ()), *re.findall(r'\w+', name))


def _at(place: Place, data: Any) -> Any:
    """The value at a place. Raises LookupError if there is none."""
    for part in place:
        if isinstance(data, list) and str(part).isdecimal():
            data = data[int(part)]
        elif isinstance(data, dict):
            data = data[part]
        else:
            raise KeyError(part)
    return data


def _dotted_keys(data: dict[str, Any], above: str) -> Iterator[str]:
    for key, value in data.items():
        yield above + key
        if isinstance(value, dict):
            yield from _dotted_keys(value, f'{above}{key}.')
