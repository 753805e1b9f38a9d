"""One mapping from an option file, the files it builds on and the command line, with the origin of every key."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sst.options.faults import OptionsError, dotted, shown
from sst.options.faults import Path as Place
from sst.options.reading import DEEPEST, MOST_VALUES, count_values, did_you_mean_file, folder_fault, parse, read_file
from sst.options.translation import translate

COMMAND_LINE = '--force_yml'
LEAST_VALUES = 50  # that a file counts as, because opening one takes time too
FORM = 'write key:key=value, such as train:ema_decay=0.99'


class Merged:
    """Options that were merged one over the other.

    Mappings merge key by key; anything else replaces what was there.

    Attributes:
        data: the merged mapping.
        leaf: the option file that was asked for.
        inherited: keys from below a change of `type`, which the new type may not take.
        notes: what was found in them that the log should tell.
        values: how many values were merged, each file's counted anew wherever it is named.
    """

    def __init__(self, leaf: str, processes: int = 1) -> None:
        self.data: dict[str, Any] = {}
        self.leaf = leaf
        self.inherited: set[Place] = set()
        self.notes: list[str] = []
        self.values = 0
        self._processes = processes
        self._origins: dict[Place, str] = {}

    def origin(self, place: Place) -> str:
        """The file that set a key, or for a key that is missing its section's type, or the nearest section above.

        The command line is `--force_yml`.
        """
        kind = (*place[:-1], 'type')
        if place not in self._origins and kind in self._origins:
            return self._origins[kind]
        for length in range(len(place), 0, -1):
            if place[:length] in self._origins:
                return self._origins[place[:length]]
        return self.leaf

    def merge(self, over: dict[str, Any], origin: str) -> None:
        """Merge a mapping over what is there. Raises OptionsError for a released network that cannot be translated."""
        try:
            self.notes += [f'{origin}: {note}' for note in translate(over, self._processes)]
        except ValueError as error:
            raise OptionsError(f'{origin}: network_g: {error}') from error
        self._merge(self.data, over, origin, ())

    def _merge(self, below: dict[str, Any], over: dict[str, Any], origin: str, section: Place) -> None:
        for key, value in over.items():
            place = (*section, key)
            old = below.get(key)
            if isinstance(value, dict) and isinstance(old, dict):
                if 'type' in old and 'type' in value and old['type'] != value['type']:
                    self.inherited |= {(*place, inner) for inner in old}
                self._merge(old, value, origin, place)
            else:
                if key in below:
                    self._forget(place)
                below[key] = value
                self._mark(place, value, origin)

    def fill(self, below: dict[str, Any], origin: str) -> None:
        """Merge a mapping below what is there."""
        self._fill(self.data, below, origin, ())

    def _fill(self, section: dict[str, Any], below: dict[str, Any], origin: str, above: Place) -> None:
        other = 'type' in section and section['type'] != below.get('type', section['type'])
        for key, value in below.items():
            place = (*above, key)
            if key not in section:
                section[key] = value
                self._mark(place, value, origin)
                self.inherited |= {place} if other else set()
            elif isinstance(value, dict) and isinstance(section[key], dict):
                self._fill(section[key], value, origin, place)

    def _forget(self, place: Place) -> None:
        self._origins = {known: file for known, file in self._origins.items() if known[: len(place)] != place}
        self.inherited = {known for known in self.inherited if known[: len(place)] != place}

    def _mark(self, place: Place, value: Any, origin: str) -> None:
        self._origins[place] = origin
        if isinstance(value, dict):
            for key, item in value.items():
                self._mark((*place, key), item, origin)

    def override(self, text: str) -> None:
        """Merge one `a:b:c=value` of the command line; a number names an entry of a list.

        Raises:
            OptionsError: another form, or a place that is not there.
        """
        keys, value = _parsed(text)
        node: Any = self.data
        for depth, key in enumerate(keys):
            if isinstance(node, list):
                place, items = tuple(keys[:depth]), list(node)
                _set_entry(items, keys[depth:], value, place)
                keys, value = keys[:depth], items
                break
            if not isinstance(node, dict):
                above = dotted(tuple(keys[:depth]))
                raise OptionsError(
                    f'{COMMAND_LINE}: {dotted(tuple(keys))}: {above} is {shown(node)}, which has no keys'
                )
            node = node.get(key, {})
            if node is None and depth + 1 < len(keys):
                node = {}
        for key in reversed(keys):
            value = {key: value}
        self.merge(value, COMMAND_LINE)


def read_chain(path: str | os.PathLike, processes: int = 1) -> Merged:
    """An option file merged over all files of its `_base_`, in their order.

    Raises:
        OptionsError: a file that cannot be read, or files that build on each other in a circle.
    """
    leaf = os.path.normpath(path)
    merged = Merged(leaf, processes)
    _read_into(merged, Path(leaf), [])
    return merged


def take_out(data: dict[str, Any], places: Iterable[Place]) -> None:
    """Remove what stands at some places of options."""
    for *section, key in sorted(places, key=len, reverse=True):  # the deepest first
        holder: Any = data
        for part in section:
            holder = holder[part]
        holder.pop(key, None)


def bases_of(content: dict[str, Any], path: Path) -> list[Path]:
    """The files that a file's `_base_` names; takes the key out of its content."""
    names = content.pop('_base_', [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name and '\0' not in name for name in names):
        raise OptionsError(f'{path}: _base_: must be a list of option files, relative to this one, not {shown(names)}')
    return [Path(os.path.normpath(path.parent / name)) for name in names]


def _read_into(merged: Merged, path: Path, above: list[Path]) -> None:
    circle = [*above, path]
    if path.resolve() in [other.resolve() for other in above]:
        way = ' -> '.join(str(other) for other in circle)
        raise OptionsError(f'{above[-1]}: _base_: {path.name} builds on itself ({way})')
    if above and not os.path.exists(path):  # unlike Path.exists, it takes names that are too long
        raise OptionsError(f'{above[-1]}: _base_: no file {path}{did_you_mean_file(path)}')
    if above and path.is_dir():
        raise OptionsError(f'{above[-1]}: _base_: {path} is {folder_fault(path)}')
    content = read_file(path)
    merged.values += max(count_values(content), LEAST_VALUES)
    if merged.values > MOST_VALUES:
        raise OptionsError(
            f'{path}: with the files that were read before it comes to more than {MOST_VALUES} values (a file counts '
            'wherever a _base_ names it); name each base once'
        )
    for base in bases_of(content, path):
        _read_into(merged, base, circle)
    merged.merge(content, str(path))


def _parsed(text: str) -> tuple[list[str], Any]:
    path, equals, written = text.partition('=')
    keys = [key.strip() for key in path.split(':')]
    if not equals or len(keys) > DEEPEST or not all(key and key.isprintable() for key in keys):
        raise OptionsError(f'{COMMAND_LINE}: {shown(text)}: {FORM}')
    if not written.strip():
        raise OptionsError(f'{COMMAND_LINE}: {shown(text)} has no value: {FORM}; for no value write {path}=null')
    if any('.' in key for key in keys):
        raise OptionsError(f'{COMMAND_LINE}: {shown(text)}: {FORM}; colons join keys')
    if keys[0] == '_base_':
        raise OptionsError(f'{COMMAND_LINE}: _base_: {written}: only option files can name bases')
    try:
        return keys, parse(written)
    except ValueError as error:
        raise OptionsError(f'{COMMAND_LINE}: {dotted(tuple(keys))}: {shown(written)}, {error}') from None


def _set_entry(items: list, keys: list[str], value: Any, place: Place) -> None:
    """Set an entry of a list, or a place inside of one."""
    index, *rest = keys
    if not index.isdecimal() or int(index) >= len(items) or (rest and not isinstance(items[int(index)], list)):
        raise OptionsError(
            f'{COMMAND_LINE}: {dotted((*place, *keys))}: {index} must be the number of an entry of {shown(items)}, '
            f'0 to {len(items) - 1}'
        )
    if rest:
        inner = list(items[int(index)])
        _set_entry(inner, rest, value, (*place, index))
        value = inner
    items[int(index)] = value
