"""The page of all options."""

from pathlib import Path

from sst.options import load_options, write_document

ROOT = Path(__file__).parents[2]


def test_committed_page_is_current(tmp_path):
    new = write_document(tmp_path / 'options.md').read_text(encoding='utf-8')
    assert new == (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8'), 'run: python -m sst.options'


def test_every_key_of_a_run_is_on_the_page(tmp_path):
    page = write_document(tmp_path / 'options.md').read_text(encoding='utf-8')

    def keys(section):
        for key, value in section.items():
            if isinstance(value, dict):
                yield from keys(value)
            else:
                yield key

    run = load_options(ROOT / 'options' / 'demo.yml')
    for part in ('path', 'logger', 'network_g', 'datasets'):
        for key in set(keys(run[part])) - {'type'}:
            assert f'| `{key}` |' in page
