"""What is wrong with options, in words: one line per fault, with its key, what was given and what to write."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from sst.options.advice import advice
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean

Path = tuple[str | int, ...]
Fault = tuple[Path, str]  # where, and what is wrong there

# pydantic's errors in our words; it has hundreds more, which are shown as they are.
MUST_BE = {
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
    'greater_than': 'more than {gt}',
    'greater_than_equal': 'at least {ge}',
    'less_than': 'less than {lt}',
    'less_than_equal': 'at most {le}',
    'too_short': 'a list of at least {min_length}',
    'too_long': 'a list of at most {max_length}',
}
MOST_NAMES = 12  # that a line lists


class OptionsError(UserError):
    """Faulty options: one line per fault, `<file>: <key>: <what is wrong>`."""


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
    lines = [f'{prefix(place)}{dotted(place)}: {_advised(place, text)}' for place, text in faults]
    return OptionsError(*map(one_line, lines))


def _advised(place: Path, text: str) -> str:
    """What is wrong, or for an unknown key of other programs what to write in its place."""
    return (advice(str(place[-1]), place[:-1]) if text.startswith('unknown key') else '') or text


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
    """Text for a value that is not among the allowed ones; of many names only the nearest is told."""
    near = did_you_mean(value, [name for name in allowed if isinstance(name, str)]) if isinstance(value, str) else ''
    names = ', '.join([*map(str, allowed[:MOST_NAMES]), *(['...'] if len(allowed) > MOST_NAMES else [])])
    return f'must be {f"{what}: " if what else "one of "}{names}, not {shown(value)}{near}'


def unknown_key(key: str, allowed: Sequence[str], when: str = '') -> str:
    return f'unknown key; keys{when} are {", ".join(allowed)}{did_you_mean(key, allowed)}'


def faults_of(error: ValidationError, section: Any) -> list[Fault]:
    """The faults that pydantic found in a mapping for a section (a class), in our words."""
    found = [_fault_of(item, section) for item in error.errors(include_url=False) if not _miscounted(item)]
    return list(dict.fromkeys(found))


def _miscounted(details: ErrorDetails) -> bool:
    """Whether a list is only too short because pydantic does not count its faulty entries, which have their lines."""
    return details['type'] == 'too_short' and len(details['input']) >= details['ctx']['min_length']


def _fault_of(details: ErrorDetails, section: Any) -> Fault:
    kind, place, value, context = details['type'], details['loc'], details['input'], details.get('ctx', {})
    if kind == 'fault':  # of our checks, and of sections inside of this one
        return place, context['text']
    key = str(place[0]) if place else ''
    field = section.model_fields.get(key)
    if kind == 'extra_forbidden':
        return place, unknown_key(key, list(section.model_fields), section.when)
    if kind == 'missing':
        return place, f'missing{section.when}{f": give {field.description}" if field.description else ""}'
    if kind == 'literal_error':
        choices = re.findall(r"'?([^',]+?)'?(?:, | or |$)", context['expected'])
        return place, not_one_of(value, [*choices, *(['null'] if type(None) in get_args(field.annotation) else [])])
    if kind in MUST_BE:
        return place, f'must be {MUST_BE[kind].format(**context)}, not {shown(value)}'
    return place, f'{details["msg"]}, not {shown(value)}'
