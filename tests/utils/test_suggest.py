import pytest

from sst.utils.suggest import did_you_mean


@pytest.mark.parametrize(
    ('word', 'near'),
    [('dmi', 'dim'), ('adamw', 'AdamW'), ('Num_Heads', 'num_heads'), ('zzz', None), ('', None), ('num_dims', None)],
)
def test_nearest_name(word, near):
    expected = f'; did you mean "{near}"?' if near else ''
    assert did_you_mean(word, ['dim', 'num_heads', 'AdamW']) == expected
