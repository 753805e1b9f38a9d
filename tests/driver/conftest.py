"""A folder with pictures, and runs in it."""

import sys

import pytest
import yaml
from driver_runs import pictures

from sst.driver import run


@pytest.fixture
def root(tmp_path):
    for name, count in (('Train', 5), ('Val', 2)):
        pictures(tmp_path / 'datasets' / name / 'HR', count, 16)
        pictures(tmp_path / 'datasets' / name / 'LR', count, 8)
    return tmp_path


@pytest.fixture
def start(root, monkeypatch, tmp_path_factory):
    """Runs training or testing with a dictionary of options, written as an option file; gives the exit code."""
    monkeypatch.setattr(sys, 'argv', ['sst/train.py'])
    for variable in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(variable, raising=False)

    def started(options, *flags):
        file = tmp_path_factory.mktemp('options') / 'some.yml'
        file.write_text(yaml.safe_dump(options))
        work = run.run_training if 'train' in options else run.run_testing
        return work(root, ['-opt', str(file), *flags])

    return started
