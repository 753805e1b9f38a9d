"""BasicSR's source as pip gets it and as it is installed."""

import os
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUP = """\
from setuptools import setup
def get_version():
    with open('version.py') as f:
        version_file = 'version.py'
        exec(compile(f.read(), version_file, 'exec'))
    return locals()['__version__']
setup(name='basicsr', version=get_version(), py_modules=['version'], install_requires=list(open('requirements.txt')))
"""
FILES = {
    'PKG-INFO': 'Metadata-Version: 2.1\nName: basicsr\nVersion: 1.4.2\n',
    'setup.py': SETUP,
    'version.py': "__version__ = '1.4.2'\n",
    'requirements.txt': 'numpy>=1.17\nopencv-python\ntb-nightly\n',
}


@pytest.fixture
def source(tmp_path):
    """An archive of a source that is made as BasicSR's is."""
    folder = tmp_path / 'basicsr-1.4.2'
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding='utf-8')
    subprocess.run(['tar', '-czf', 'basicsr-1.4.2.tar.gz', folder.name], cwd=tmp_path, check=True)
    return tmp_path


def test_source_is_built_on_any_python_and_asks_for_no_second_opencv(source):
    (source / 'sitecustomize.py').write_text(
        "import sys; sys.modules['basicsr'] = None", encoding='utf-8'
    )  # is missing
    options = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(source), 'PIP_TARGET': str(source / 'there')}
    environment = {key: value for key, value in os.environ.items() if not key.startswith('PIP_')} | options
    command = [sys.executable, '-m', 'sst.install_basicsr']
    environment['PYTHONPATH'] = str(source)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{done.stdout[-2000:]}\n{done.stderr[-2000:]}'
    lines = (source / 'there/basicsr-1.4.2.dist-info/METADATA').read_text(encoding='utf-8').splitlines()
    asked = {line.removeprefix('Requires-Dist: ') for line in lines if line.startswith('Requires-Dist: ')}
    assert asked == {'numpy>=1.17', 'opencv-python-headless', 'tensorboard'}


def test_other_sources_stay_as_they_are(source):
    (source / 'basicsr-1.4.2/PKG-INFO').write_text('Name: other\n', encoding='utf-8')
    folder = source / 'basicsr-1.4.2'
    (source / 'sitecustomize.py').write_bytes((ROOT / 'sst/install_basicsr.py').read_bytes())
    environment = os.environ | {'PYTHONPATH': str(source)}
    subprocess.run([sys.executable, '-c', ''], cwd=folder, env=environment, check=True)
    assert (folder / 'setup.py').read_text(encoding='utf-8') == FILES['setup.py']


def test_installed_basicsr_is_the_mended_one():
    asked = {line.split('>')[0].strip() for line in requires('basicsr') or []}
    assert {'tensorboard', 'opencv-python-headless'} <= asked
    assert not {'tb-nightly', 'opencv-python'} & asked
