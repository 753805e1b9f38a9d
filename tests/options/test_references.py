"""`${...}` in option files."""

import pytest

from sst.options.reading import parse
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
    ('text', 'mentioned'),
    [
        ('${sclae}', '"scale"?'),
        ('${section.kye}', '"section.key"?'),
        ('${unclosed', '"${unclosed"'),
        ('${nothing:1}', '"${nothing:1}"'),
        ('${oc.env:HOME}', '"${oc.env:HOME}"'),
        ('${ section.key }', '"${ section.key }"'),
        ('${mul:a,2}', '"a"'),
        ('${mul:true,2}', 'true'),
        ('${x.y}', '"${x.y}"'),
        ('${x}', '"${x}"'),
    ],
)
def test_reference_without_value(text, mentioned):
    _, faults = resolve({'scale': 2, 'section': {'key': 1}, 'x': {'y': text}})
    assert [place for place, _ in faults] == [('x', 'y')]
    assert mentioned in faults[0][1]


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
def test_references_that_multiply_are_refused(form, order):
    lines = ['k0: x', *(f'k{index}: {form.format(f"k{index - 1}")}' for index in range(1, 30))]
    _, faults = resolve(parse('\n'.join(lines[::order])))
    assert 0 < len({place[0] for place, _ in faults}) < 25


@pytest.mark.parametrize('order', [1, -1])
def test_a_chain_of_references_is_followed(order):
    lines = ['k0: 7', *(f'k{index}: ${{k{index - 1}}}' for index in range(1, 40))]
    data, faults = resolve(parse('\n'.join(lines[::order])))
    assert (set(data.values()), faults) == ({7}, [])


def test_a_circle_is_told():
    data = {'a': '${b}', 'b': '${a}'}
    assert len(without_followers(resolve(data)[1], data)) == 2
