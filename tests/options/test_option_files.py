"""The files in options/."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from sst.archs import SST
from sst.options import load_options
from sst.options.data import roots_of
from sst.options.merging import Merged, bases_of, read_chain
from sst.options.reading import read_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'options'
RUNS = sorted(FOLDER.glob('*.yml'))
FILES = sorted(FOLDER.rglob('*.yml'))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(FOLDER)) for path in paths]


@pytest.mark.parametrize('path', RUNS, ids=names(RUNS))
def test_loads_under_its_own_name(path):
    assert load_options(path)['name'] == path.stem


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
    for place, value in keys(yaml.safe_load(text)):
        assert not re.search(r'(^|\s)[/~]|\.\./|\\|^[A-Z]:', str(value).replace('https://', '')), place


@pytest.mark.parametrize('path', RUNS, ids=names(RUNS))
def test_data_has_its_place_and_a_way_to_it(path):
    for dataset in load_options(path)['datasets'].values():
        assert dataset['prepare']
        for key in ('dataroot_gt', 'dataroot_lq'):
            assert all(root.startswith('datasets/') for root in roots_of(dataset.get(key, [])))


PARAMETERS = {
    'SST_light': 893_340,
    'SST_light_plus': 893_340,
    'SST': 11_676_707,
    'SST_plus': 11_676_707,
    'SST_L': 20_314_947,
    'SST_L_plus': 20_314_947,
    'SST_XL_plus': 33_892_195,
    'demo': 207_564,
}


@pytest.mark.parametrize('model', PARAMETERS)
def test_models_have_the_published_size(model, tmp_path):
    base = FOLDER / '_base_' / 'models' / f'{model}.yml'
    (tmp_path / 'x.yml').write_text(f'_base_: {base}\nname: x\nscale: 2\ndatasets: {{}}')
    network = load_options(tmp_path / 'x.yml')['network_g']
    del network['type']
    with torch.device('meta'):
        count = sum(parameter.numel() for parameter in SST(**network).parameters())
    assert count == PARAMETERS[model]


def test_every_base_is_for_a_run_or_a_model():
    used = {base.resolve() for path in FILES for base in bases_of(read_file(path), path)}
    unused = [path for path in FILES if path not in used and path not in RUNS and path.parent.name != 'models']
    assert names(unused) == []


def test_published_data():
    def patch_and_batch(name):
        options = load_options(FOLDER / f'{name}.yml')
        train = options['datasets']['train']
        return train['name'], train['gt_size'] // options['scale'], train['batch_size']

    assert patch_and_batch('train_SST_light_x2') == ('DIV2K', 64, 64)
    assert patch_and_batch('train_SST_L_x2') == ('DF2K', 64, 32)
    assert patch_and_batch('train_SST_L_plus_DFLIP_x2') == ('DFLIP', 96, 32)


def test_sst_l_trains_as_published():
    options = load_options(FOLDER / 'train_SST_L_x2.yml')
    assert options['datasets']['train']['batch_size'] == 32
    assert options['datasets']['train']['gt_size'] == 128
    train = options['train']
    assert (train['total_iter'], train['warmup_iter'], train['ema_decay']) == (500_000, 20_000, 0.999)
    assert train['optim_g'] == {'type': 'AdamW', 'lr': 5e-4, 'betas': [0.9, 0.9], 'weight_decay': 0}
    assert train['scheduler']['milestones'] == [250_000, 400_000, 450_000, 475_000, 490_000]
    assert train['scheduler']['gamma'] == 0.5
    assert options['val']['val_freq'] == options['logger']['save_checkpoint_freq'] == 5000
