import json
from pathlib import Path

import pytest

OPTIONS = Path(__file__).parents[3] / 'options' / 'test_SST_light_x2.yml'
NETWORK = {'dim': 12, 'num_blocks': 1, 'window_sizes': [4, 8], 'num_heads': 2, 'bias': {'ranks': 2}}


@pytest.fixture
def model(tmp_path):
    """An option file of a small network."""
    path = tmp_path / 'small.yml'
    path.write_text(json.dumps({'_base_': [str(OPTIONS)], 'network_g': NETWORK}))
    return str(path)
