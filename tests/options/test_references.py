"""`${...}` in option files."""

import pytest

from sst.options import OptionsError, load_options
from sst.options.references import resolve, without_followers


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('${scale}', 2),
        ('x${scale}', 'x2'),
        ('{}x${scale}', '{}x2'),
        ('${mul:64,${scale}}', 128),
        ('${mul:0.5,4}', 2),
        ('${section.key}', 'deep'),
        ('${list}', [1, 2]),
        ('${section}', {'key': 'deep'}),
    ],
)
def test_reference(text, value):
    data, faults = resolve({'scale': 2, 'list': [1, '${scale}'], 'section': {'key': 'deep'}, 'x': {'y': [text]}})
    assert faults == []
    assert data['x']['y'] == [value]
    assert type(data['x']['y'][0]) is type(value)


def test_relative_reference():
    assert resolve({'a': {'b': 1, 'c': '${.b}'}})[0]['a']['c'] == 1


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('${sclae}', 'did you mean "scale"?'),
        ('${section.kye}', 'did you mean "section.key"?'),
        ('${unclosed', '${key}'),
        ('${nothing:1}', '${key}'),
        ('${oc.env:HOME}', '${key}'),
        ('${ section.key }', '${key}'),
        ('${oc.select:section}', '${key}'),
        ('${mul:a,2}', 'mul takes two numbers'),
        ('${x.y}', 'Recursive'),
    ],
)
def test_reference_without_value(text, message):
    _, faults = resolve({'scale': 2, 'section': {'key': 1}, 'x': {'y': text}})
    assert [place for place, _ in faults] == [('x', 'y')]
    assert message in faults[0][1]


def test_only_the_fault_itself_is_told():
    data = {'scale': '${sclae}', 'size': '${mul:2,${scale}}', 'other': '${nothing}'}
    _, faults = resolve(data)
    assert [place for place, _ in faults] == [('scale',), ('size',), ('other',)]
    assert [place for place, _ in without_followers(faults, data)] == [('scale',), ('other',)]


def test_a_reference_that_is_not_closed_hides_no_other():
    data = {'scale': 2, 'a': '${scale}', 'b': ['${'], 'c': '${sclae}'}
    resolved, faults = resolve(data)
    assert resolved['a'] == 2
    assert [place for place, _ in faults] == [('b', 0), ('c',)]


@pytest.mark.parametrize('form', ['"${{{0}}}${{{0}}}"', '["${{{0}}}", "${{{0}}}"]', '{{a: "${{{0}}}", b: "${{{0}}}"}}'])
@pytest.mark.parametrize('order', [1, -1], ids=['known ones first', 'known ones last'])
def test_references_that_multiply_are_refused(tmp_path, form, order):
    lines = ['k0: x', *(f'k{index}: {form.format(f"k{index - 1}")}' for index in range(1, 30))]
    (tmp_path / 'x.yml').write_text('\n'.join(lines[::order]))
    with pytest.raises(OptionsError, match=rf'^{tmp_path}/x.yml: [^\n]*more than 1000 others[^\n]*$'):
        load_options(tmp_path / 'x.yml')


def test_a_circle_is_told():
    data = {'a': '${b}', 'b': '${a}'}
    assert len(without_followers(resolve(data)[1], data)) == 2
