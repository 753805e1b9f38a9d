"""Every rival agrees with the original's output on random weights under the published names."""

import pytest
import torch
from helpers import assert_close

CASES = (
    'art_a',
    'asid_a',
    'cat_a',
    'elan_a',
    'esc_a',
    'hitsrf_a',
    'ipg_a',
    'mambair_a',
    'mambairv2_a',
    'pft_a',
    'rdn_a',
)
BUFFERS = ('relative_position_index', 'attn_mask', 'relative_coords', 'index')


@pytest.mark.parametrize('name', CASES)
def test_values(case, name):
    golden = case(name)
    assert all(any(word in key for word in BUFFERS) for key in golden.unused), sorted(golden.unused)[:5]
    with torch.no_grad():
        assert_close(golden.net(golden.input), golden.output, 2e-6, name)
