"""What is wrong with options, in words: one line per fault, that says what was given and what is allowed."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sst.options.advice import advice
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean

Path = tuple[str | int, ...]
Fault = tuple[Path, str]  # where, and what is wrong there

ALLOWED = {
    'int_type': 'an integer',
    'int_from_float': 'an integer',
    'float_type': 'a number',
    'finite_number': 'a finite number',
    'bool_type': 'true or false',
    'string_type': 'a text',
    'string_too_short': 'a text that is not empty',
    'list_type': 'a list',
    'tuple_type': 'a list',
    'dict_type': 'a mapping',
    'model_type': 'a mapping',
    'union_tag_not_found': 'a mapping with a type',
    'greater_than': 'more than {gt}',
    'greater_than_equal': 'at least {ge}',
    'less_than': 'less than {lt}',
    'less_than_equal': 'at most {le}',
    'too_short': 'a list of at least {min_length}',
    'too_long': 'a list of at most {max_length}',
}
OTHER = 'any other name that is registered in BasicSR'  # for the tag <other>


class OptionsError(UserError):
    """Faulty options: one line per fault, `<file>: <key>: <what was given>, <what is allowed>`."""


def fault(text: str) -> PydanticCustomError:
    """A fault of the field that is being validated, to be raised."""
    return PydanticCustomError('fault', '{text}', {'text': text})


def refuse(faults: Sequence[Fault]) -> None:
    """Raise faults of the section that is being validated, with places relative to it; does nothing without faults."""
    if faults:
        details = [InitErrorDetails(type=fault(text), loc=place, input=None) for place, text in faults]
        raise ValidationError.from_exception_data('options', details)


def options_error(faults: Sequence[Fault], prefix: Callable[[Path], str]) -> OptionsError:
    """The error to raise; `prefix` says what stands before the key, from the place of the fault."""
    return OptionsError('\n'.join(one_line(f'{prefix(place)}{dotted(place)}: {text}') for place, text in faults))


def one_line(text: str) -> str:
    return re.sub(r'\s+', ' ', text).strip()


def dotted(place: Path) -> str:
    return '.'.join(str(part) for part in place)


def shown(value: Any) -> str:
    """A value as the option file would spell it, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > 80:
        text = text[:60] + ' ...' + text[-1]
    return f'{text} (a text)' if isinstance(value, str) and re.fullmatch(r'[-+.\d]\S*|true|false|null', value) else text


def not_one_of(value: Any, allowed: Sequence[Any], what: str = '') -> str:
    """Text of a value that is not among the allowed ones; of many names only the nearest is told."""
    near = did_you_mean(value, [name for name in allowed if isinstance(name, str)]) if isinstance(value, str) else ''
    names = ', '.join(str(name) for name in allowed)
    listed = f'allowed is {what} ({names})' if what else f'allowed: {names}'
    if what and near and len(allowed) > 12:
        listed = f'allowed is {what}'
    return f'{shown(value)}, {listed}{near}'


def unknown_key(key: str, allowed: Sequence[str], when: str = '') -> str:
    return f'unknown key, allowed{when}: {", ".join(allowed)}{did_you_mean(key, allowed)}'


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The faults that pydantic found in a mapping for `model`, in our words."""
    found = [_fault_of(details, model) for details in error.errors(include_url=False) if not _miscounted(details)]
    return list(dict.fromkeys(found))


def _miscounted(details: ErrorDetails) -> bool:
    """Whether a list is only too short because pydantic does not count its faulty entries, which have their lines."""
    return details['type'] == 'too_short' and len(details['input']) >= details['ctx']['min_length']


def _fault_of(details: ErrorDetails, model: type[BaseModel]) -> Fault:
    kind, loc, value, context = details['type'], details['loc'], details['input'], details.get('ctx', {})
    place = tuple(part for part in loc if not _is_tag(part))
    if kind == 'fault':
        return place, context['text']
    if kind == 'extra_forbidden':
        key = str(place[-1])
        keys = [name for _, section in _at(model, loc[:-1]) for name in _fields(section)]
        kind = next((str(part)[1:-1] for part in loc[-2:-1] if _is_tag(part)), '')
        return place, advice(key, place[:-1]) or unknown_key(key, keys, f' with type {kind}' if kind else '')
    if kind == 'missing':
        fields = [_fields(section).get(str(place[-1])) for _, section in _at(model, loc[:-1])]
        described = next((field.description for field in fields if field and field.description), '')
        return place, f'missing, required{": " if described else ""}{described}'
    if kind in ('union_tag_invalid', 'union_tag_not_found') and isinstance(value, Mapping):
        names = [OTHER if tag == '<other>' else tag[1:-1] for tag, _ in _at(model, loc) if tag]
        if 'type' in value:
            return (*place, 'type'), not_one_of(value['type'], names)
        return (*place, 'type'), f'missing, required: one of {", ".join(names)}'
    if kind == 'literal_error':
        return place, not_one_of(value, [name for _, member in _at(model, loc) for name in _choices(member)])
    if kind in ALLOWED:
        return place, f'{shown(value)}, allowed is {ALLOWED[kind].format(**context)}'
    return place, f'{shown(value)}, {details["msg"]}'


# Where pydantic's error came from: the annotation that its `loc` leads to. Members of a union bear tags `<name>`.


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and part.startswith('<') and part.endswith('>')


def _fields(annotation: Any) -> Mapping[str, Any]:
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}


def _members(annotation: Any, tag: str = '') -> Iterator[tuple[str, Any]]:
    """(tag, annotation) of what a value may be, unions and annotations taken apart."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        yield from _members(inner, next((item.tag for item in metadata if isinstance(item, Tag)), tag))
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member, tag)
    else:
        yield tag, annotation


def _choices(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif annotation is type(None):
        yield 'null'


def _at(model: Any, loc: Path) -> list[tuple[str, Any]]:
    """(tag, annotation) of what may stand at `loc` of a model."""
    here = [('', model)]
    for part in loc:
        here = [inner for tag, annotation in here for inner in _step(tag, annotation, part)]
    return here


def _step(tag: str, annotation: Any, part: str | int) -> Iterator[tuple[str, Any]]:
    if _is_tag(part):
        if tag == part:
            yield '', annotation
    elif part in _fields(annotation):
        yield from _members(_fields(annotation)[str(part)].annotation)
    elif _fields(annotation):
        for extra in get_args(annotation.__annotations__.get('__pydantic_extra__'))[1:]:
            yield from _members(extra)
    elif get_origin(annotation) in (dict, list, tuple):
        yield from _members(get_args(annotation)[1 if get_origin(annotation) is dict else 0])
