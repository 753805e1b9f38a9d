"""What is saved with a run so that it can be repeated: options, code and packages."""

import math
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

import sst
from sst.utils.files import atomic_write_text


def write_record(folder: Path, options: dict[str, Any], resumed_at: int = 0) -> Path:
    """Write `options.yml`, `environment.txt` and the files of `imports` into a run's folder; return the options' path.

    A resumed run keeps the older files and adds `options_<iteration>.yml`, `environment_<iteration>.txt` and the like
    where something differs.
    """
    text = yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=120)
    written = _write_beside(folder / 'options.yml', text, resumed_at)
    _write_beside(folder / 'environment.txt', environment(), resumed_at)
    for name in options['imports']:
        if name.endswith('.py'):
            (folder / 'imports').mkdir(exist_ok=True)
            _write_beside(folder / 'imports' / Path(name).name, Path(name).read_text(encoding='utf-8'), resumed_at)
    return written


def options_at(folder: Path, iteration: float = math.inf) -> Path:
    """The options that a run had at an iteration: each time that it went on with others, it wrote them anew."""
    found = {(0, ''): folder / 'options.yml'}
    for path in folder.glob('options_*.yml'):
        number, _, moment = path.stem.removeprefix('options_').partition('_')
        if number.isdecimal() and int(number) <= iteration:
            found[int(number), moment] = path
    return found[max(found)]


def environment() -> str:
    """Command, code, Python, torch, GPUs and the installed packages, a line each."""
    cuda = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'no CUDA'
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    packages = sorted(
        {f'{package.metadata["Name"]}=={package.version}' for package in metadata.distributions()}, key=str.lower
    )
    return '\n'.join(
        [
            f'command: {shlex.join([Path(sys.executable).name, *sys.argv])}',
            f'commit: {git_commit()}',
            f'python: {platform.python_version()} on {platform.platform()}',
            f'torch: {torch.__version__}, {cuda}',
            f'devices: {", ".join(devices) or "CPU"}',
            '',
            *packages,
            '',
        ]
    )


def git_commit() -> str:
    """The commit of the checkout that sst was imported from, with `(changed)` if its files differ."""
    home = Path(sst.__file__).resolve().parents[1]
    top = _git(home, 'rev-parse', '--show-toplevel')
    commit = _git(home, 'rev-parse', 'HEAD')
    if top is None or commit is None or Path(top).resolve() != home:
        return f'unknown ({home} is no git checkout)'
    return f'{commit} (changed)' if _git(home, 'status', '--porcelain', '--untracked-files=no') else commit


def summary(device: torch.device, world: int) -> str:
    """One line for the log: versions and device."""
    commit = git_commit()
    code = '' if commit.startswith('unknown') else f' ({commit[:9]})'
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    tf32 = ', TF32' if device.type == 'cuda' and torch.get_float32_matmul_precision() != 'highest' else ''
    return (
        f'SST {sst.__version__}{code}, BasicSR {metadata.version("basicsr")}, '
        f'torch {torch.__version__}, Python {platform.python_version()}, {world} x {name}{tf32}'
    )


def _write_beside(path: Path, text: str, resumed_at: int) -> Path:
    candidates = [path]
    if resumed_at:
        candidates += [
            path.with_stem(f'{path.stem}_{resumed_at}'),
            path.with_stem(f'{path.stem}_{resumed_at}_{time.strftime("%Y%m%d_%H%M%S")}'),
        ]
    for candidate in candidates:
        if candidate.exists() and candidate.read_text(encoding='utf-8', errors='replace') == text:
            return candidate
        if not candidate.exists() or not resumed_at:
            break
    atomic_write_text(candidate, text)
    return candidate


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ['git', '-C', str(folder), *arguments],
            capture_output=True,
            encoding='utf-8',
            errors='replace',
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
