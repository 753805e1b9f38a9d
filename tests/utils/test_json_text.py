"""What we write as JSON, strict readers take."""

import json

import numpy as np
import pytest

from sst.utils.json_text import json_text


def strict(text):
    def refuse(name):
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize('value', [float('inf'), float('-inf'), float('nan'), np.float64('inf')])
def test_numbers_that_json_lacks_are_texts_that_float_reads(value):
    found = strict(json_text({'a': [value, {'b': (value, 1.5)}], 'c': 2}))
    assert found['c'] == 2
    assert found['a'][1]['b'][1] == 1.5
    for text in (found['a'][0], found['a'][1]['b'][0]):
        assert np.array_equal(float(text), value, equal_nan=True)
