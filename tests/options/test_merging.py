"""Files over files, and the command line over all."""

from pathlib import Path

import pytest

from sst.options import OptionsError, load_options
from sst.options.merging import read_chain

DEMO = Path(__file__).parents[2] / 'options' / 'demo.yml'


def files(folder: Path, texts: dict[str, str]) -> Path:
    """Write files; the first one is the leaf."""
    for name, text in texts.items():
        (folder / f'{name}.yml').parent.mkdir(exist_ok=True)
        (folder / f'{name}.yml').write_text(text)
    return folder / f'{next(iter(texts))}.yml'


def refused(path: Path | str, overrides: list[str]) -> str:
    with pytest.raises(OptionsError) as caught:
        load_options(path, overrides)
    assert '\n' not in str(caught.value)
    return str(caught.value)


MERGED = {
    'later bases win and the file itself wins last': (
        {'leaf': '_base_: [a.yml, b.yml]\nz: leaf', 'a': 'x: a\ny: a\nz: a', 'b': 'y: b\nz: b'},
        {'x': 'a', 'y': 'b', 'z': 'leaf'},
    ),
    'bases of bases are relative to their own file': (
        {'leaf': '_base_: sub/middle.yml', 'sub/middle': '_base_: root.yml\ny: middle', 'sub/root': 'x: root\ny: root'},
        {'x': 'root', 'y': 'middle'},
    ),
    'mappings merge and lists are replaced': (
        {'leaf': '_base_: a.yml\nm: {q: {s: 2}}\nl: [3]', 'a': 'm: {p: 1, q: {r: 1}}\nl: [1, 2]'},
        {'m': {'p': 1, 'q': {'r': 1, 's': 2}}, 'l': [3]},
    ),
    'two files may share a base': (
        {'leaf': '_base_: [a.yml, b.yml]', 'a': '_base_: c.yml\nx: a', 'b': '_base_: c.yml', 'c': 'x: c\ny: c'},
        {'x': 'c', 'y': 'c'},
    ),
}


@pytest.mark.parametrize(('texts', 'data'), MERGED.values(), ids=MERGED)
def test_merged(tmp_path, texts, data):
    assert read_chain(files(tmp_path, texts)).data == data


def test_origin_is_the_last_file_that_set_a_key(tmp_path):
    leaf = files(tmp_path, {'leaf': '_base_: a.yml\nm: {p: 2}', 'a': 'm: {p: 1, q: 1}'})
    merged = read_chain(leaf)
    assert merged.origin(('m', 'p')) == str(leaf)
    assert merged.origin(('m', 'q')) == str(tmp_path / 'a.yml')
    merged.override('m:q=3')
    assert merged.origin(('m', 'q')) == '--force_yml'


@pytest.mark.parametrize(
    ('texts', 'file', 'mentioned'),
    [
        ({'a': '_base_: a.yml'}, 'a', 'a.yml'),
        ({'a': '_base_: b.yml', 'b': '_base_: a.yml'}, 'b', 'a.yml'),
        ({'a': '_base_: datta.yml', 'data': ''}, 'a', '/data.yml"?'),
        ({'a': '_base_: c.yml', 'b': ''}, 'a', '/c.yml'),
        ({'a': '_base_: .'}, 'a', '/a.yml'),
        ({'a': f'_base_: {"x" * 400}'}, 'a', 'xxx'),
        ({'a': '_base_: "b\\0"'}, 'a', '["b\\u0000"]'),
        ({'a': '_base_: 3'}, 'a', '3'),
        ({'a': '_base_: [b.yml, 3]', 'b': ''}, 'a', '["b.yml", 3]'),
        ({f'f{i}': f'_base_: [f{i + 1}.yml, f{i + 1}.yml]' for i in range(25)} | {'f25': 'x: 1'}, 'f', '5000'),
    ],
)
def test_faulty_bases(tmp_path, texts, file, mentioned):
    message = refused(files(tmp_path, texts), [])
    assert message.startswith(f'{tmp_path}/{file}')
    assert '_base_' in message
    assert mentioned in message


@pytest.mark.parametrize(
    ('override', 'place', 'value'),
    [
        ('train:optim_g:lr=5e-4', ('train', 'optim_g', 'lr'), 5e-4),
        ('train:total_iter=6', ('train', 'total_iter'), 6),
        ("name=__import__('os').getcwd()", ('name',), "__import__('os').getcwd()"),
        ('val:save_img=true', ('val', 'save_img'), True),
        ('val:suffix=a=b', ('val', 'suffix'), 'a=b'),
        ('manual_seed=null', ('manual_seed',), None),
        ('network_g:window_sizes=[8,8]', ('network_g', 'window_sizes'), [8, 8]),
        ('network_g:window_sizes:1=4', ('network_g', 'window_sizes'), [8, 4, 16]),
        ('name=${model_type}_x', ('name',), 'SSTModel_x'),
        ('train:grad_clip=0.1', ('train', 'grad_clip'), 0.1),
    ],
)
def test_override(override, place, value):
    before = ['network_g:num_heads=3', 'train:total_iter=7']  # later ones win
    found = load_options(DEMO, [*before, override])
    for key in place:
        found = found[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('a', '"a"'),
        ('=b', '"=b"'),
        ('a=', '"a="'),
        ('\udcff=1', '"\udcff=1"'),
        ('a:' * 100 + 'a=1', '"a:a:'),
        ('a::b=1', '"a::b=1"'),
        ('train.total_iter=1', '"train.total_iter=1"'),
        ('_base_=x.yml', '_base_: x.yml: '),
        ('name=[1', 'name: "[1"'),
        ('name=!!python/name:os.system', 'name: "!!python/name:os.system"'),
        ('scale:x=1', 'scale.x: '),
        ('network_g:window_sizes:9=8', 'network_g.window_sizes.9: '),
        ('train:total_itr=1', 'train.total_itr: '),
        ('trian:total_iter=1', 'trian: '),
        ('scale="2"', 'scale: '),
    ],
)
def test_faulty_override(override, message):
    assert refused(DEMO, [override]).startswith(f'--force_yml: {message}')


def test_a_new_type_drops_what_it_does_not_take():
    bias = load_options(DEMO, ['network_g:bias:type=RoPE'])['network_g']['bias']
    assert bias == {'type': 'RoPE'}
    bias = load_options(DEMO, ['network_g:bias:type=SIREN'])['network_g']['bias']
    assert bias == {'type': 'SIREN', 'ranks': [8, 8, 8], 'hidden': 32}
    optimiser = load_options(DEMO, ['train:optim_g:type=SGD', 'train:optim_g:momentum=0.9'])['train']['optim_g']
    assert optimiser == {'type': 'SGD', 'lr': 4e-3, 'weight_decay': 0, 'momentum': 0.9}


def test_one_new_type_after_another():
    overrides = ['network_g:bias:type=RoPE', 'network_g={type: EDSR, num_in_ch: 3, num_out_ch: 3, upscale: 2}']
    assert load_options(DEMO, overrides)['network_g'].keys() == {'type', 'num_in_ch', 'num_out_ch', 'upscale'}


def test_a_new_type_refuses_what_is_given_with_it():
    overrides = ['network_g:bias:type=RoPE', 'network_g:bias:ranks=8']
    assert refused(DEMO, overrides).startswith('--force_yml: network_g.bias.ranks: ')
