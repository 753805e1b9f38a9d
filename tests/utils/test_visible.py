"""Text of others is shown in one line, without what a terminal would obey."""

import pytest

from sst.utils.visible import visible


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('photo 1 ä 写真.jpg', 'photo 1 ä 写真.jpg'),
        ('a\nb\r\tc', r'a\nb\r\tc'),
        ('\x1b[31mred\x07\x7f\x9b', r'\x1b[31mred\x07\x7f\x9b'),
        ('gpj.\u202efdp\u2066', r'gpj.\u202efdp\u2066'),
        ('\u2028\U000e0001', r'\u2028\U000e0001'),
        ('\udcff', r'\udcff'),
        (r'C:\new', r'C:\new'),
        (7, '7'),
    ],
)
def test_what_is_shown(text, shown):
    assert visible(text) == shown
    assert visible(visible(text)) == shown
