"""The files in options/."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from sst.options import load_options
from sst.options.data import roots_of
from sst.options.merging import Merged, bases_of, read_chain
from sst.options.reading import read_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'options'
RUNS = sorted([path for part in ('.', 'rivals', 'ablations') for path in (FOLDER / part).glob('*.yml')])
FILES = sorted(FOLDER.rglob('*.yml'))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(FOLDER)) for path in paths]


def loadable(paths: list[Path]) -> list:
    """The files, those of SRFormer only where the extra package is that has it."""
    lacking = pytest.mark.skipif(not find_spec('spandrel_extra_arches'), reason='spandrel_extra_arches is missing')
    return [pytest.param(path, marks=lacking if path.stem.startswith('SRFormer') else ()) for path in paths]


@pytest.mark.parametrize('path', loadable(RUNS), ids=names(RUNS))
def test_loads_under_its_own_name(path):
    prefix = 'ablation_' if path.parent.name == 'ablations' else ''  # runs lie in one folder
    assert load_options(path)['name'] == prefix + path.stem


def keys(section: dict, above: tuple = ()) -> list[tuple[tuple, object]]:
    """(place, value) of all that is no mapping."""
    found: list = []
    for key, value in section.items():
        found += keys(value, (*above, key)) if isinstance(value, dict) else [((*above, key), value)]
    return found


@pytest.mark.parametrize('path', FILES, ids=names(FILES))
def test_repeats_nothing_of_its_bases(path):
    content = read_file(path)
    below = Merged(str(path))
    for base in bases_of(content, path):
        below.merge(read_chain(base).data, str(base))
    inherited = dict(keys(below.data))
    repeated = ['.'.join(place) for place, value in keys(content) if (place, value) in inherited.items()]
    assert repeated == []


@pytest.mark.parametrize('path', FILES, ids=names(FILES))
def test_names_the_schema_and_no_place_of_its_own(path):
    text = path.read_text()
    schema = re.match(r'# yaml-language-server: \$schema=(\S+)\n# \S', text)
    assert schema
    assert (path.parent / schema[1]).resolve() == FOLDER / 'schema.json'
    content = yaml.safe_load(text)
    content.pop('_base_', None)
    for place, value in keys(content):
        assert not re.search(r'(^|\s)[/~]|\.\./|\\|^[A-Z]:', str(value).replace('https://', '')), place


@pytest.mark.parametrize('path', loadable(RUNS), ids=names(RUNS))
def test_data_has_its_place_and_a_way_to_it(path):
    for dataset in load_options(path)['datasets'].values():
        assert dataset['prepare']
        for key in ('dataroot_gt', 'dataroot_lq'):
            assert all(root.startswith('datasets/') for root in roots_of(dataset.get(key, [])))


def test_every_base_is_for_a_run_or_a_model():
    used = {base.resolve() for path in FILES for base in bases_of(read_file(path), path)}
    unused = [path for path in FILES if path not in used and path not in RUNS and path.parent.name != 'models']
    assert names(unused) == []
