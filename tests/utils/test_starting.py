"""What goes wrong while a program's packages are imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sst.utils.starting import PACKAGES

ROOT = Path(__file__).parents[2]
INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass  # as some packages do
"""


def start(*arguments: str, path: Path | str = '') -> subprocess.CompletedProcess:
    """Python without its packages, but with those in `path`."""
    command = [sys.executable, '-S', *arguments]
    environment = os.environ | {'PYTHONPATH': str(path)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_all_requirements_are_known():
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    required = {found[0] for line in lines if (found := re.match(r'[\w-]+(\[\w+\])?', line))}
    assert required == set(PACKAGES.values()) - {'basicsr'}


@pytest.mark.parametrize('program', ['sst/train.py', 'sst/test.py', 'sst/info.py', 'sst/demo.py'])
def test_a_package_that_is_not_installed_is_one_line(program):
    done = start(program, '-opt', 'options/demo.yml')
    assert done.returncode == 2
    assert re.fullmatch(r'error: torch\S* is not installed for \S*python\S*; .*activate.*install\.sh\n', done.stderr)


def test_another_module_that_is_missing_keeps_its_trace(tmp_path):
    (tmp_path / 'torchvision.py').write_text('import sst_nonsense', encoding='utf-8')
    done = start('sst/train.py', path=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('Traceback')
    assert "No module named 'sst_nonsense'" in done.stderr


def test_an_interruption_is_one_line_though_a_package_catches_it(tmp_path):
    (tmp_path / 'torchvision.py').write_text(INTERRUPTED, encoding='utf-8')
    done = start('sst/train.py', '-opt', 'options/demo.yml', path=tmp_path)
    assert (done.returncode, done.stderr) == (130, 'interrupted\n')


def test_where_basicsr_is_missing_the_error_says_what_to_type(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text("import sys; sys.modules['basicsr'] = None", encoding='utf-8')
    environment = os.environ | {'PYTHONPATH': str(tmp_path)}
    for arguments, code in ((['sst/upscale.py', 'photo.jpg'], 2), (['-c', 'import sst'], 1)):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr.endswith('type: python -m sst.install_basicsr\n')
        assert (len(done.stderr.splitlines()) == 1) == (code == 2)
