"""What is saved with a run."""

import subprocess
from pathlib import Path

import pytest
import yaml

from sst.driver import record

OPTIONS = {'name': 'run', 'train': {'total_iter': 5, 'milestones': [1, 2]}, 'path': {}, 'imports': []}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fresh_run(tmp_path):
    assert record.write_record(tmp_path, OPTIONS) == tmp_path / 'options.yml'
    assert yaml.safe_load((tmp_path / 'options.yml').read_text()) == OPTIONS
    text = (tmp_path / 'environment.txt').read_text()
    for part in ('command: ', 'commit: ', 'python: 3.', 'torch: ', 'devices: ', 'basicsr==1.4.2'):
        assert part in text


def test_resume_keeps_the_older_files(tmp_path, monkeypatch):
    monkeypatch.setattr(record, 'environment', lambda: 'same')
    record.write_record(tmp_path, OPTIONS)
    record.write_record(tmp_path, OPTIONS, 8)
    assert names(tmp_path) == ['environment.txt', 'options.yml']
    changed = OPTIONS | {'name': 'other'}
    assert record.write_record(tmp_path, changed, 8).name == 'options_8.yml'
    assert record.write_record(tmp_path, changed, 8).name == 'options_8.yml'
    assert names(tmp_path) == ['environment.txt', 'options.yml', 'options_8.yml']
    record.write_record(tmp_path, OPTIONS | {'name': 'third'}, 8)
    assert len(names(tmp_path)) == 4
    assert yaml.safe_load((tmp_path / 'options.yml').read_text()) == OPTIONS
    assert yaml.safe_load((tmp_path / 'options_8.yml').read_text()) == changed


def test_the_options_of_an_iteration_are_found(tmp_path):
    for name in ('options.yml', 'options_8.yml', 'options_8_20260101_000000.yml', 'options_10.yml', 'options_x.yml'):
        (tmp_path / name).touch()
    at = {iteration: record.options_at(tmp_path, iteration).stem for iteration in (7, 9, 10)}
    assert at == {7: 'options', 9: 'options_8_20260101_000000', 10: 'options_10'}
    assert record.options_at(tmp_path).stem == 'options_10'


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit from which sst seems to be imported."""
    (tmp_path / 'sst').mkdir()
    module = tmp_path / 'sst' / '__init__.py'
    module.write_text('')
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=a@b.c']
    for command in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'first']):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(record.sst, '__file__', str(module))
    return tmp_path


def test_commit(checkout):
    commit = record.git_commit()
    assert len(commit) == 40
    Path(checkout, 'sst', '__init__.py').write_text('changed = True\n')
    assert record.git_commit() == f'{commit} (changed)'


def test_commit_of_a_package_in_another_checkout(checkout, monkeypatch):
    inner = checkout / 'site-packages' / 'sst' / '__init__.py'
    monkeypatch.setattr(record.sst, '__file__', str(inner))
    assert record.git_commit().startswith('unknown')
