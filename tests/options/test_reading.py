"""YAML as option files have it."""

import math

import pytest

from sst.options import OptionsError
from sst.options.reading import parse, read_file


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('5e-4', 5e-4),
        ('1E3', 1000),
        ('!!float 6', 6),
        ('!!float 3e5', 300000),
        ('1e300', 1e300),
        ('.5', 0.5),
        ('-1', -1),
        ('500_000', 500000),
        ('1.', 1),
        ('.inf', math.inf),
        ('true', True),
        ('False', False),
        ('null', None),
        ('~', None),
        ('yes', 'yes'),
        ('off', 'off'),
        ('1:30', '1:30'),
        ('010', '010'),
        ('2026-01-01', '2026-01-01'),
        ('"4"', '4'),
        ('[8, 8]', [8, 8]),
        ('{a: [1, x]}', {'a': [1, 'x']}),
        ('{a: &x {b: 1}, c: *x}', {'a': {'b': 1}, 'c': {'b': 1}}),
        ('{a: &x {b: 1}, c: {<<: *x, d: 2}}', {'a': {'b': 1}, 'c': {'b': 1, 'd': 2}}),
        ('{a: {c: &y {<<: {b: 1}, b: 2}}, d: {<<: *y}}', {'a': {'c': {'b': 2}}, 'd': {'b': 2}}),
    ],
)
def test_values(text, value):
    found = parse(text)
    assert found == value
    assert type(found) is type(value)


def test_aliases_are_copies():
    content = parse('{a: &x {b: 1}, c: *x}')
    content['a']['b'] = 2
    assert content['c'] == {'b': 1}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: 1\nb: [', 'line 2: no YAML'),
        ('a: 1\nb: 2\na: 3', "line 3: no YAML: the key 'a' is given twice"),
        ('a: 1\n2: b', "line 2: no YAML: the key '2' is no text"),
        ('a: !!python/object/apply:os.getcwd []', 'line 1: no YAML'),
        ('a: &x [*x]', 'no YAML'),
        ('a: \x00', 'no YAML'),
        ('a: "\\ud800"', "line 1: no YAML: '\\ud800' holds half a character"),
        ('"\\ud800": 1', "line 1: no YAML: '\\ud800' holds half a character"),
        ('a: ' + '9' * 5000, 'line 1: no YAML: 99999999999999999999... is too large'),
        ('a: ' + '[' * 100 + ']' * 100, 'no YAML: it is nested more than 30 deep'),
        ('a: ' + '{b: ' * 20_000, 'no YAML'),
        ('a: !!bool x', 'no YAML: a value is not what its tag'),
        ('- 1', 'must hold a mapping of options, not [1]'),
        ('just text', 'must hold a mapping of options, not "just text"'),
    ],
)
def test_faulty_file_is_one_line(tmp_path, text, message):
    path = tmp_path / 'x.yml'
    path.write_text(text)
    with pytest.raises(OptionsError) as caught:
        read_file(path)
    assert str(caught.value).startswith(f'{path}: {message}')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('level', ['[{}]', '{{<<: [{}]}}'], ids=['lists', 'merge keys'])
def test_aliases_that_multiply_are_refused(level):
    lines = ['a0: &a0 {x: 1}']
    lines += [f'a{i}: &a{i} {level.format(", ".join([f"*a{i - 1}"] * 9))}' for i in range(1, 30)]
    with pytest.raises(ValueError, match='more than 5000 values'):
        parse('\n'.join(lines))


@pytest.mark.parametrize('text', ['a: [' + '1,' * 200_000 + ']', 'a:\n' + '- 1\n' * 200_000], ids=['flow', 'block'])
def test_a_list_without_end_is_refused(text):
    with pytest.raises(ValueError, match='more than 5000 values'):
        parse(text)


def test_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / 'demo.yml').touch()
    with pytest.raises(OptionsError, match=r'^\S+dmeo.yml: no such file; did you mean "\S+demo.yml"\?$'):
        read_file(tmp_path / 'dmeo.yml')


def test_a_missing_file_suggests_no_other_name(tmp_path):
    (tmp_path / 'demo.yml').touch()
    with pytest.raises(OptionsError, match=r'photo.yml: no such file$'):
        read_file(tmp_path / 'photo.yml')


def test_folder_and_binary_file(tmp_path):
    (tmp_path / 'x.yml').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(OptionsError, match=r': a folder; .*x.yml$'):
        read_file(tmp_path)
    with pytest.raises(OptionsError, match='UTF-8'):
        read_file(tmp_path / 'x.yml')
