"""Files over files, and the command line over all."""

from pathlib import Path

import pytest

from sst.options import OptionsError, load_options
from sst.options.merging import read_chain

DEMO = Path(__file__).parents[2] / 'options' / 'demo.yml'


def files(folder: Path, **texts: str) -> Path:
    """Write files; the first one is the leaf."""
    for name, text in texts.items():
        (folder / f'{name}.yml').write_text(text)
    return folder / f'{next(iter(texts))}.yml'


def refused(path: Path | str, overrides: list[str]) -> str:
    with pytest.raises(OptionsError) as caught:
        load_options(path, overrides)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_later_bases_win_and_the_file_itself_wins_last(tmp_path):
    leaf = files(tmp_path, leaf='_base_: [a.yml, b.yml]\nz: leaf', a='x: a\ny: a\nz: a', b='y: b\nz: b')
    assert read_chain(leaf).data == {'x': 'a', 'y': 'b', 'z': 'leaf'}


def test_bases_of_bases_are_relative_to_their_own_file(tmp_path):
    (tmp_path / 'sub').mkdir()
    files(tmp_path / 'sub', middle='_base_: root.yml\ny: middle', root='x: root\ny: root')
    leaf = files(tmp_path, leaf='_base_: sub/middle.yml')
    assert read_chain(leaf).data == {'x': 'root', 'y': 'middle'}


def test_mappings_merge_and_lists_are_replaced(tmp_path):
    leaf = files(tmp_path, leaf='_base_: a.yml\nm: {q: {s: 2}}\nl: [3]', a='m: {p: 1, q: {r: 1}}\nl: [1, 2]')
    assert read_chain(leaf).data == {'m': {'p': 1, 'q': {'r': 1, 's': 2}}, 'l': [3]}


def test_two_files_may_share_a_base(tmp_path):
    leaf = files(tmp_path, leaf='_base_: [a.yml, b.yml]', a='_base_: c.yml\nx: a', b='_base_: c.yml', c='x: c\ny: c')
    assert read_chain(leaf).data == {'x': 'c', 'y': 'c'}


def test_origin_is_the_last_file_that_set_a_key(tmp_path):
    leaf = files(tmp_path, leaf='_base_: a.yml\nm: {p: 2}', a='m: {p: 1, q: 1}')
    merged = read_chain(leaf)
    assert merged.origin(('m', 'p')) == str(leaf)
    assert merged.origin(('m', 'q')) == str(tmp_path / 'a.yml')
    merged.override('m:q=3')
    assert merged.origin(('m', 'q')) == '--force_yml'


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ({'a': '_base_: a.yml'}, r'a.yml: _base_: a.yml builds on itself'),
        ({'a': '_base_: b.yml', 'b': '_base_: a.yml'}, r'b.yml: _base_: a.yml builds on itself'),
        ({'a': '_base_: datta.yml', 'data': ''}, r'a.yml: _base_: no file \S+; did you mean "\S+/data.yml"\?$'),
        ({'a': '_base_: c.yml', 'b': ''}, r'a.yml: _base_: no file \S+c.yml$'),
        ({'a': '_base_: .'}, r'a.yml: _base_: \S+ is a folder; .*a.yml$'),
        ({'a': f'_base_: {"x" * 400}'}, r'a.yml: _base_: no file \S+xxx$'),
        ({'a': '_base_: "b\\0"'}, r'a.yml: _base_: .* not \["b\\u0000"\]'),
        ({'a': '_base_: 3'}, r'a.yml: _base_: .* not 3'),
        ({'a': '_base_: [b.yml, 3]', 'b': ''}, r'a.yml: _base_: .* not \["b.yml", 3\]'),
    ],
)
def test_faulty_bases(tmp_path, texts, message):
    with pytest.raises(OptionsError, match=rf'^{tmp_path}/{message}') as caught:
        read_chain(files(tmp_path, **texts))
    assert '\n' not in str(caught.value)


def test_bases_that_multiply_are_refused(tmp_path):
    texts = {f'f{index}': f'_base_: [f{index + 1}.yml, f{index + 1}.yml]' for index in range(25)}
    message = refused(files(tmp_path, **texts, f25='x: 1'), [])
    assert 'name each base once' in message


@pytest.mark.parametrize(
    ('override', 'place', 'value'),
    [
        ('train:optim_g:lr=5e-4', ('train', 'optim_g', 'lr'), 5e-4),
        ('train:total_iter=6', ('train', 'total_iter'), 6),
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
    found = load_options(DEMO, [override, *(['network_g:num_heads=3'] if 'window' in override else [])])
    for key in place:
        found = found[key]
    assert found == value
    assert type(found) is type(value)


def test_later_overrides_win():
    assert load_options(DEMO, ['train:total_iter=6', 'train:total_iter=7'])['train']['total_iter'] == 7


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('a', '"a": write key:key=value'),
        ('=b', '"=b": write key:key=value'),
        ('a=', '"a=" has no value: write key:key=value'),
        ('\udcff=1', '"\udcff=1": write key:key=value'),
        ('a:' * 100 + 'a=1', '"a:a:'),
        ('a::b=1', '"a::b=1": write key:key=value'),
        ('train.total_iter=1', '"train.total_iter=1": write key:key=value'),
        ('_base_=x.yml', '_base_: x.yml: '),
        ('name=[1', 'name: "[1", line 1: no YAML'),
        ('name=!!python/name:os.system', 'name: "!!python/name:os.system", line 1: no YAML'),
        ('scale:x=1', 'scale.x: scale is 2, which has no keys'),
        ('network_g:window_sizes:9=8', 'network_g.window_sizes.9: 9 must be the number'),
        ('train:total_itr=1', 'train.total_itr: unknown key'),
        ('trian:total_iter=1', 'trian: unknown key'),
        ('scale="2"', 'scale: must be an integer, not "2" (a text)'),
    ],
)
def test_faulty_override(override, message):
    assert refused(DEMO, [override]).startswith(f'--force_yml: {message}')


@pytest.mark.parametrize('override', ["name=__import__('os').getcwd()", 'name=eval(1)'])
def test_overrides_are_never_run(override):
    assert load_options(DEMO, [override.replace('/', '')])['name'] == override.removeprefix('name=')


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
    assert refused(DEMO, overrides).startswith('--force_yml: network_g.bias.ranks: unknown key')
