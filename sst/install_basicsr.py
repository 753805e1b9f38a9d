"""Installs BasicSR 1.4.2 from a source that is corrected for today's Python: `python -m sst.install_basicsr`.

With `--wheel FOLDER` it makes a wheel of it instead, for a machine without network.

Needs only the standard library and pip. This is the only place that changes BasicSR's source.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WANTED = 'basicsr==1.4.2'
# From Python 3.13 on, exec does not write into locals().
SETUP = {
    "exec(compile(f.read(), version_file, 'exec'))": "exec(compile(f.read(), version_file, 'exec'), globals())",
    "return locals()['__version__']": "return globals()['__version__']",
}
# Beside tensorboard and opencv-python-headless these would install the same files twice.
REQUIREMENTS = {'tb-nightly': 'tensorboard', 'opencv-python\n': 'opencv-python-headless\n'}


def main() -> int:
    """Have pip install BasicSR into this Python, from the index that pip is set up for. Returns pip's exit code.

    pip runs a source's setup.py for its metadata before anybody else can change it. But each Python that pip starts in
    the unpacked source imports `sitecustomize` first, and that is a copy of this file.
    """
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(__file__, Path(folder, 'sitecustomize.py'))
        # A wheel in pip's cache may have been built from the source as it is.
        options = ('--no-deps', '--no-build-isolation', '--no-cache-dir', '--no-binary', 'basicsr')
        action = ['wheel', '--wheel-dir', *arguments[1:]] if arguments[:1] == ['--wheel'] else ['install', *arguments]
        command = [sys.executable, '-m', 'pip', *action, *options, WANTED]
        return subprocess.run(command, env=os.environ | {'PYTHONPATH': folder}, check=False).returncode


def mend(folder: Path) -> None:
    """Mend the source of BasicSR in `folder`; a folder that holds something else stays as it is."""
    facts = folder / 'PKG-INFO'
    if not facts.exists() or 'Name: basicsr\n' not in facts.read_text(encoding='utf-8'):
        return
    for name, changes in (('setup.py', SETUP), ('requirements.txt', REQUIREMENTS)):
        text = (folder / name).read_text(encoding='utf-8')
        for before, after in changes.items():
            text = text.replace(before, after)
        (folder / name).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    sys.exit(main())
if __name__ == 'sitecustomize':
    mend(Path.cwd())
