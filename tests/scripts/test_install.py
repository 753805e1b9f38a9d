"""Which Python install.sh makes its environment with; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ('setup.py', 'requirements.txt', 'constraints.txt', 'scripts/install.sh', 'sst/install_basicsr.py')
NAMES = ('python3', 'python3.11', 'python3.12', 'python3.13', 'python3.14')
# A Python that fits if its exit code is 0, and writes down that it makes an environment, which fails.
STAND_IN = '#!/bin/sh\n[ "$1" = -m ] && echo {name} >made && exit 7\nexit {code}\n'


@pytest.fixture
def install(tmp_path):
    """Run install.sh where the Pythons of some names fit; exit code, and which one made an environment."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    def run(*fitting: str, **variables: str) -> tuple[int, str]:
        (tmp_path / 'bin').mkdir()
        for name in NAMES:
            program = tmp_path / 'bin' / name
            program.write_text(STAND_IN.format(name=name, code=0 if name in fitting else 1), encoding='utf-8')
            program.chmod(0o755)
        path = f'{tmp_path / "bin"}:{os.environ["PATH"]}'
        environment = {key: value for key, value in os.environ.items() if not key.startswith('SST_')}
        environment |= {'PATH': path} | variables
        done = subprocess.run(['bash', 'scripts/install.sh'], cwd=tmp_path, env=environment, check=False)
        made = tmp_path / 'made'
        return done.returncode, made.read_text(encoding='utf-8').strip() if made.exists() else ''

    return run


@pytest.mark.parametrize('name', NAMES)
def test_any_python_that_fits_is_found(install, name):
    assert install(name) == (7, name)


def test_the_python_that_is_named_is_taken(install):
    assert install(*NAMES, SST_PYTHON='python3.12') == (7, 'python3.12')


def test_without_a_python_that_fits_nothing_is_made(install, tmp_path):
    assert install() == (2, '')
    assert not (tmp_path / '.venv').exists()
