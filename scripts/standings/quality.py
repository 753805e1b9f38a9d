"""PSNR and SSIM of models whose weights are there, by `sst/test.py` with each one's own option file."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sst.checkpoints.sources import shipped
from standings.entries import Entry

ROOT = Path(__file__).resolve().parents[2]
SST_TEST = 'import sys; from sst.test import main; sys.exit(main())'  # sst-test, with data and results where it runs
# Type and whether higher is better. The first two have published figures, the others from NIQE on need no HR.
METRICS = {
    'psnr': ('calculate_psnr', True),
    'ssim': ('calculate_ssim', True),
    'lpips': ('calculate_lpips', False),
    'dists': ('calculate_dists', False),
    'niqe': ('calculate_niqe', False),
    'musiq': ('calculate_musiq', True),
    'maniqa': ('calculate_maniqa', True),
    'clipiqa': ('calculate_clipiqa', True),
    'topiq': ('calculate_topiq', True),
}
WITHOUT_HR = tuple(METRICS)[4:]
IN_RGB = ('val:metrics:psnr:test_y_channel=false', 'val:metrics:psnr:crop_border=4')  # of NTIRE


def changes_for(entry: Entry, metrics: Sequence[str], folder: Path | None) -> list[str]:
    """What `--force_yml` takes to compute these metrics, on a folder of images without HR if one is named."""
    changes = [f'val:metrics:{name}=null' for name in ('psnr', 'ssim') if name not in metrics]
    for name in metrics:
        if name not in ('psnr', 'ssim'):
            kind, higher = METRICS[name]
            better = 'higher' if higher else 'lower'
            changes.append(f'val:metrics:{name}={{type: {kind}, crop_border: {entry.scale}, better: {better}}}')
    if folder:
        images = f'{{name: {folder.name}, type: SingleImageDataset, dataroot_lq: {json.dumps(str(folder.resolve()))}, '
        changes += [f'datasets:{key}=null' for key in entry.options()['datasets']]
        changes.append(f'datasets:test_0={images}io_backend: {{type: disk}}}}')
    return changes


def weights_of(options: Mapping[str, Any], root: Path) -> Path | None:
    """The file of a test's weights; None where there is none."""
    named = options['path']['pretrain_network_g']
    path = shipped().get(named) or root / named
    return path if path.is_file() else None


def scores(entry: Entry, root: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """`sets`, metrics of each data set by name, with hashes of `weights` and `data`; {'refused': reason} without them.

    Args:
        entry (Entry): the model.
        root (Path): where weights and data sets lie, and the results of the test.
        changes (Sequence[str]): to its options, as `--force_yml` takes them.
    """
    options = entry.options(*changes)
    weights = weights_of(options, root)
    if weights is None:
        return {'refused': f'no weights: {options["path"]["pretrain_network_g"]}'}
    folders = {data['name']: data.get('dataroot_gt') or data['dataroot_lq'] for data in options['datasets'].values()}
    there = {name: root / folder for name, folder in folders.items() if (root / folder).is_dir()}
    if not there:
        return {'refused': 'no data sets: python scripts/prepare_data.py download benchmark'}
    name = f'league_{entry.name}_x{entry.scale}'
    command = [sys.executable, '-c', SST_TEST, '-opt', str(entry.file.resolve()), '--force_yml']
    answer = subprocess.run(
        [*command, *entry.arguments(*changes, f'name={name}')],
        cwd=root,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        encoding='utf-8',
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or [f'exit code {answer.returncode}']
        return {'failed': lines[-1]}
    results = json.loads((root / 'results' / name / 'metrics.json').read_text(encoding='utf-8'))
    return {
        'sets': {name: {m: result[m] for m in METRICS if m in result} for name, result in results.items()},
        'weights': {'file': str(weights), 'sha256': sha256(weights)},
        'data': {name: hash_of_images(folder) for name, folder in there.items()},
        'conventions': {key: options['val'].get(key) for key in ('metrics', 'tile', 'tile_grid', 'self_ensemble')},
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_of_images(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(f'{path.name} {sha256(path)}\n'.encode())
    return total.hexdigest()
