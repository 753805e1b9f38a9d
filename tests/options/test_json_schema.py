"""The schema that editors read."""

import json
from pathlib import Path

from sst.options import write_schema

ROOT = Path(__file__).parents[2]


def test_committed_schema_is_current(tmp_path):
    new = write_schema(tmp_path / 'schema.json').read_text()
    assert new == (ROOT / 'options' / 'schema.json').read_text(), 'run: python -m sst.options'


def test_every_key_is_described_and_none_but_type_is_required(tmp_path):
    schema = json.loads(write_schema(tmp_path / 'schema.json').read_text())
    sections = {'': schema, **schema['$defs']}
    assert all(section.get('required', ['type']) == ['type'] for section in sections.values())
    for name, section in sections.items():
        for key, value in section.get('properties', {}).items():
            assert key == 'type' or value.get('description'), f'{name}.{key}'
