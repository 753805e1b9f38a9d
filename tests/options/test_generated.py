"""What is written out of the schema: options/schema.json, which editors read, and docs/options.md."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from sst.options import load_options, write_document, write_schema

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('write', 'committed'), [(write_schema, 'options/schema.json'), (write_document, 'docs/options.md')]
)
def test_committed_file_is_current(tmp_path, write, committed):
    new = write(tmp_path / 'new').read_text(encoding='utf-8')
    assert new == (ROOT / committed).read_text(encoding='utf-8'), 'run: python -m sst.options'


def test_every_key_is_described_and_none_but_type_is_required(tmp_path):
    schema = json.loads(write_schema(tmp_path / 'schema.json').read_text())
    sections = {'': schema, **schema['$defs']}
    assert all(section.get('required', ['type']) == ['type'] for section in sections.values())
    for name, section in sections.items():
        for key, value in section.get('properties', {}).items():
            assert key == 'type' or value.get('description'), f'{name}.{key}'


def test_every_key_of_a_run_is_on_the_page(tmp_path):
    page = write_document(tmp_path / 'options.md').read_text(encoding='utf-8')

    def keys(section):
        for key, value in section.items():
            yield from keys(value) if isinstance(value, dict) else [key]

    run = load_options(ROOT / 'options' / 'demo.yml')
    for part in ('path', 'logger', 'network_g', 'datasets'):
        for key in set(keys(run[part])) - {'type'}:
            assert f'| `{key}` |' in page


@pytest.mark.parametrize('argument', ['--help', 'here'])
def test_arguments_write_nothing(monkeypatch, argument):
    monkeypatch.setattr(sys, 'argv', ['sst.options', argument])
    monkeypatch.setattr('sst.options.write_schema', lambda: pytest.fail('written'))
    with pytest.raises(SystemExit) as end:
        runpy.run_module('sst.options', run_name='__main__')
    assert end.value.code == (0 if argument == '--help' else 2)
