"""docs/options.md: every key of an option file, out of the schema."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sst.options.schema import Options

HEAD = """\
# Options

Every key of an option file; `python -m sst.options` writes this page out of the schema. How files build on each other,
and how `--force_yml` changes a key, is told in [train.md](train.md#options). What is *required* must be given by the
file or its bases.
"""
NAMES = {'integer': 'integer', 'number': 'number', 'string': 'text', 'boolean': 'true, false', 'null': 'null'}

Schema = Mapping[str, Any]


def write_document(path: str | os.PathLike = 'docs/options.md') -> Path:
    """Write the page. A section that stands under several others, such as a bias of two networks, is written once."""
    schema = Options.model_json_schema()
    target = Path(path)
    tables = dict.fromkeys('\n'.join(table) for table in _sections('', schema, schema['$defs']))
    target.write_text('\n'.join([HEAD, *tables]) + '\n', encoding='utf-8')
    return target


def _sections(place: str, section: Schema, known: Schema) -> Iterator[Iterator[str]]:
    """The section's table, then those of the sections in it."""
    yield _table(place, section)
    fields = {**section.get('properties', {})}
    for pattern, field in section.get('patternProperties', {}).items():
        fields['val_1' if pattern.startswith('^(val') else pattern] = field
    for key, field in fields.items():
        for inner in _inner_sections(field, known):
            yield from _sections(f'{place}.{key}' if place else key, inner, known)


def _inner_sections(field: Schema, known: Schema) -> Iterator[Schema]:
    """The sections that may stand in a field."""
    if '$ref' in field:
        field = known[field['$ref'].rpartition('/')[2]]
    if 'properties' in field:
        yield field
    choices = [*field.get('anyOf', []), *field.get('allOf', [])[:1]]  # the second only limits the first
    if 'properties' not in field and isinstance(field.get('additionalProperties'), Mapping):
        choices.append(field['additionalProperties'])
    for choice in choices:
        yield from _inner_sections(choice, known)


def _table(place: str, section: Schema) -> Iterator[str]:
    kind, open_ended = (
        section.get('properties', {}).get('type', {}).get('const'),
        section.get('additionalProperties') is True,
    )
    title = f'`{place}`' if place else 'Top level'
    if kind or (open_ended and place.startswith(('datasets', 'network_g'))):
        title += f' with `type: {kind}`' if kind else ' with any other `type`'
    yield f'## {title}\n'
    yield f'{" ".join(section.get("description", "").split())}\n'
    rows = [
        (key, field) for key, field in section.get('properties', {}).items() if not (key == 'type' and 'const' in field)
    ]
    if rows:
        yield '| key | value | default | meaning |\n|---|---|---|---|'
        for key, field in rows:
            default = _default(field) if key not in section.get('required', []) else '*required*'
            yield f'| `{key}` | {_value(field)} | {default} | {field.get("description", "")} |'
        yield ''
    if open_ended:
        yield 'Other keys are its parameters.\n'


def _default(field: Schema) -> str:
    if 'default' not in field or isinstance(field['default'], Mapping):
        return ''
    return f'`{json.dumps(field["default"], ensure_ascii=False)}`'


def _value(field: Schema) -> str:
    if '$ref' in field or 'properties' in field or 'allOf' in field:
        return 'section'
    if 'anyOf' in field:
        return ' or '.join(dict.fromkeys(_value(item) for item in field['anyOf']))
    if 'enum' in field or 'const' in field:
        return ', '.join(str(choice) for choice in field.get('enum', [field.get('const')]))
    if field.get('type') == 'array':
        return f'list of: {_value(field.get("items", {}))}'
    if field.get('type') == 'object':
        return 'section'
    bounds = {'minimum': '≥', 'exclusiveMinimum': '>', 'maximum': '≤', 'exclusiveMaximum': '<'}
    limits = [f'{sign} {field[bound]}' for bound, sign in bounds.items() if bound in field]
    return ' '.join([NAMES.get(field.get('type', ''), 'anything'), ', '.join(limits)]).strip()
