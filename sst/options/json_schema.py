"""The JSON schema of option files, by which editors complete and check keys."""

import os
from pathlib import Path
from typing import Any

from sst.options.schema import Options
from sst.utils.json_text import json_text

REFERENCE = {'type': 'string', 'pattern': r'\$\{'}
BASES = {
    'description': 'option files that this one builds on, in this order, relative to this file',
    'anyOf': [{'type': 'string'}, {'type': 'array', 'items': {'type': 'string'}}],
}


def write_schema(path: str | os.PathLike = 'options/schema.json') -> Path:
    """Write the JSON schema of option files; no key is required, as bases fill in."""
    schema = _loosened(Options.model_json_schema())
    schema['title'] = 'SST options'
    schema['properties'] = {'_base_': BASES, **schema['properties']}
    target = Path(path)
    target.write_text(json_text(schema, indent=1) + '\n', encoding='utf-8')
    return target


def _loosened(node: Any, is_value: bool = False) -> Any:
    """Without required keys and titles; a value may also be a reference `${...}`."""
    if isinstance(node, list):
        return [_loosened(item) for item in node]
    if not isinstance(node, dict):
        return node
    loose: dict[str, Any] = {}
    for key, value in node.items():
        if key in ('properties', 'patternProperties', '$defs'):
            loose[key] = {name: _loosened(item, key != '$defs') for name, item in value.items()}
        elif key == 'oneOf':  # without a type, which a base may give, several fit
            loose['anyOf'] = [_loosened(item) for item in value]
        elif key == 'items':
            loose[key] = _loosened(value, is_value=True)
        elif key == 'default':
            loose[key] = value
        elif key not in ('required', 'title', 'discriminator'):
            loose[key] = _loosened(value)
    if not is_value:
        return loose
    about = {key: loose.pop(key) for key in ('description', 'default') if key in loose}
    return {**about, 'anyOf': [loose, REFERENCE]}
