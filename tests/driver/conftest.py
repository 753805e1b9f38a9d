"""A folder with pictures, and runs in it."""

import sys
from copy import deepcopy

import pytest
from driver_runs import pictures

from sst.driver import prepare, run


@pytest.fixture
def root(tmp_path):
    for name, count in (('Train', 5), ('Val', 2)):
        pictures(tmp_path / 'datasets' / name / 'HR', count, 16)
        pictures(tmp_path / 'datasets' / name / 'LR', count, 8)
    return tmp_path


@pytest.fixture
def start(root, monkeypatch):
    """Runs training or testing with a dictionary of options; gives the exit code."""
    monkeypatch.setattr(sys, 'argv', ['sst/train.py'])
    for variable in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(variable, raising=False)

    def started(options, *flags):
        monkeypatch.setattr(prepare, 'load_options', lambda path, overrides, **_: deepcopy(options))
        work = run.run_training if 'train' in options else run.run_testing
        return work(root, ['-opt', 'some.yml', *flags])

    return started
