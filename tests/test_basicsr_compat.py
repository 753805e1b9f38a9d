"""BasicSR imports without a word, and its names can be replaced for a while."""

import subprocess
import sys
from pathlib import Path

import pytest

from sst.basicsr_compat import install, replaced

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    'before', ['', "import sys; sys.modules['distutils'] = None; "], ids=['as installed', 'without distutils']
)
def test_import_gives_no_warning(before):
    code = (
        f'{before}from sst import basicsr_compat; basicsr_compat.install(); import basicsr.data.data_util as d; '
        'import torch; d.duf_downsample(torch.rand(1, 3, 40, 40), 13, 2)'
    )
    answer = subprocess.run(
        [sys.executable, '-W', 'error::DeprecationWarning:basicsr', '-W', 'default', '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert 'basicsr' not in answer.stderr


def test_install_twice():
    install()
    install()


def test_replaced_only_for_a_while():
    import basicsr.train as module

    before = module.build_model
    swap = replaced(module, build_model=len)
    with swap:
        assert module.build_model is len
    assert module.build_model is before


def test_replacing_what_is_not_there():
    import basicsr.train as module

    swap = replaced(module, build_nothing=len)
    with pytest.raises(AttributeError, match=r'basicsr\.train has no build_nothing: .*python -m sst\.install_basicsr'):
        swap.__enter__()
