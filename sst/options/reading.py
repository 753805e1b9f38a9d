"""Reading YAML: one file or one value of the command line, by the same rules."""

import re
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from sst.options.faults import OptionsError, one_line, shown
from sst.utils.suggest import nearest

KINDS = ('null', 'bool', 'int', 'float', 'str', 'seq', 'map')
TAGS = (*(f'tag:yaml.org,2002:{kind}' for kind in KINDS), None)  # None: what to do with any other tag
INTEGER = 'tag:yaml.org,2002:int'
MOST_DIGITS = 18  # of an integer, with its sign: what 64 bits hold
DEEPEST = 30  # sections in sections; ours have four
MOST_VALUES = 5_000  # of a file with its bases; ours have up to about a hundred
TOO_MANY = f'it comes to more than {MOST_VALUES} values, with its aliases (*) written out'


class Loader(yaml.SafeLoader):
    """Plain YAML as its version 1.2 has it: 5e-4 is a number, only true and false are truth values, dates are texts;
    keys are texts and none is given twice."""

    yaml_constructors: ClassVar[dict] = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in TAGS}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.composed = 0

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node and _size(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(TOO_MANY)
        return node

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.composed += 1
        if self.composed > MOST_VALUES:  # before the rest is read, which would take long
            raise yaml.YAMLError(TOO_MANY)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key_node.tag == 'tag:yaml.org,2002:merge':
                continue
            if key_node.tag != 'tag:yaml.org,2002:str':
                raise ConstructorError(problem=f'the key {key!r} is no text', problem_mark=key_node.start_mark)
            if key in seen:
                raise ConstructorError(problem=f'the key {key!r} is given twice', problem_mark=key_node.start_mark)
            seen.add(key)
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = super().construct_scalar(node)
        if re.search('[\ud800-\udfff]', text):
            problem = f'{ascii(text)[:80]} holds half a character, write the character itself'
            raise ConstructorError(problem=problem, problem_mark=node.start_mark)
        if node.tag == INTEGER and len(text) > MOST_DIGITS:
            problem = f'{text[:20]}... is too large: an integer has at most {MOST_DIGITS} digits'
            raise ConstructorError(problem=problem, problem_mark=node.start_mark)
        return text


Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ('null', r'~|null|Null|NULL|', ['~', 'n', 'N', '']),
    ('bool', r'true|True|TRUE|false|False|FALSE', list('tTfF')),
    ('int', r'[-+]?(0|[1-9][0-9_]*)', list('-+0123456789')),
    (
        'float',
        r'[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))'
        r'|\.(nan|NaN|NAN)',
        list('-+.0123456789'),
    ),
    ('merge', r'<<', ['<']),
):
    Loader.add_implicit_resolver(f'tag:yaml.org,2002:{_kind}', re.compile(f'^({_pattern})$'), _first)


def read_file(path: Path) -> dict[str, Any]:
    """The mapping that a file holds.

    Raises:
        OptionsError: no such file, no YAML, or no mapping.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise OptionsError(f'{path}: no such file{did_you_mean_file(path)}') from None
    except IsADirectoryError:
        raise OptionsError(f'{path}: {folder_fault(path)}') from None
    except OSError as error:
        raise OptionsError(f'{path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise OptionsError(f'{path}: must be a YAML file, but it is not UTF-8 text') from None
    try:
        content = parse(text)
    except ValueError as error:
        raise OptionsError(f'{path}: {error}') from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise OptionsError(f'{path}: must hold a mapping of options, not {shown(content)}')
    return content


def did_you_mean_file(path: Path) -> str:
    """As `did_you_mean`, with the option file beside `path` whose name is near."""
    beside = {other.stem: other for other in path.parent.glob('*.yml')} if path.parent.is_dir() else {}
    near = nearest(path.stem, beside)
    return f'; did you mean "{beside[near]}"?' if near else ''


def folder_fault(path: Path) -> str:
    """Text for a folder that is named in place of an option file."""
    inside = min(path.glob('*.yml'), default=None)
    return f'a folder; name an option file{f", such as {inside}" if inside else ""}'


def parse(text: str) -> Any:
    """YAML as plain Python.

    Raises:
        ValueError: no YAML; one line, with the line's number.
    """
    try:
        content = yaml.load(text, Loader)  # noqa: S506  # a SafeLoader with fewer types
        return _copied(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f'line {mark.line + 1}: ' if mark else ''
        raise ValueError(one_line(f'{where}no YAML: {error.problem or error.context}')) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(one_line(f'no YAML: {error}')) from None
    except (LookupError, ValueError):
        raise ValueError('no YAML: a value is not what its tag (!!int, !!float, !!bool) says') from None


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The number of nodes from this one on, each alias counted as the copy that it becomes."""
    if node not in known:
        known[node] = 0  # for a node that holds itself
        inner = node.value if isinstance(node, yaml.SequenceNode) else ()
        inner = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else inner
        known[node] = 1 + sum(_size(item, known) for item in inner)
    return known[node]


def count_values(value: Any) -> int:
    """The number of values in what was read, sections and lists included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count_values, inner))


def _copied(value: Any, deep: int = 0) -> Any:
    """Aliases turned into copies, so that changing one place changes no other, and whole numbers into integers."""
    if deep > DEEPEST:
        raise yaml.YAMLError(f'it is nested more than {DEEPEST} deep')
    if isinstance(value, dict):
        return {key: _copied(item, deep + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, deep + 1) for item in value]
    return whole(value)


def whole(value: Any) -> Any:
    """A whole number as an integer, however it is written (5e3, !!float 6): where a number may be, integers may too."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 10**MOST_DIGITS
    return int(value) if is_whole else value
