"""The page with a network that starts from noise."""

from pathlib import Path

import pytest
from helpers import tiny_options
from picture_files import saved
from real_networks import lively

import sst
from sst.archs import SST

gr = pytest.importorskip('gradio')
from sst.upscaling.web.page import Page  # noqa: E402  # needs gradio


@pytest.fixture
def page(tmp_path):
    models = {'real': sst.Upscaler(lively().eval(), 'cpu'), 'plain': sst.Upscaler(SST(**tiny_options()), 'cpu')}
    return Page(models, tmp_path, 1, None)


def result(page, upload, model, seed):
    _, _, download = page.enlarge(str(upload), model, '4', None, seed)
    return Path(download['value']).read_bytes()


def test_the_seed_decides_on_the_result(page, tmp_path):
    upload = tmp_path / 'a.png'
    saved(upload, 9, 8, 3)
    first = result(page, upload, 'real', 0)
    assert result(page, upload, 'real', 0) == result(page, upload, 'real', None) == first
    assert result(page, upload, 'real', 1) != first
    assert result(page, upload, 'plain', 1) == result(page, upload, 'plain', 0)


def test_a_seed_out_of_range_is_told(page, tmp_path):
    upload = tmp_path / 'a.png'
    saved(upload, 9, 8, 3)
    with pytest.raises(gr.Error, match='seed'):
        result(page, upload, 'real', -1)
