"""docs/extend.md: its files, in an empty folder outside the repository, train for 10 iterations."""

import re
import subprocess
import sys

import pytest
from runs import REPOSITORY, run

PAGE = (REPOSITORY / 'docs/extend.md').read_text(encoding='utf-8')
FILES = dict(re.findall(r'```\w+\n# (\S+)\n(.*?)```', PAGE, flags=re.DOTALL))
RUNS = sorted(name for name in FILES if name.endswith('.yml'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    command = [sys.executable, str(REPOSITORY / 'scripts/prepare_data.py'), 'demo']
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / 'datasets'


def test_there_is_a_run_of_each_kind():
    assert len(RUNS) == 6
    assert all(f'{name.removesuffix("yml")}py' in FILES for name in RUNS)
    assert max(len(text.splitlines()) for text in FILES.values()) <= 30


@pytest.mark.parametrize('name', RUNS)
def test_it_trains(tmp_path, data, name):
    (tmp_path / 'SST').symlink_to(REPOSITORY)
    (tmp_path / 'datasets').symlink_to(data)
    for file in (name, name.replace('.yml', '.py')):
        (tmp_path / file).write_text(FILES[file], encoding='utf-8')
    short = ('train:total_iter=10', 'train:warmup_iter=-1', 'datasets:train:batch_size=2', 'logger:print_freq=10')
    run(tmp_path, 'sst-train', '-opt', name, '--force_yml', *short)
    assert (tmp_path / f'experiments/{name.removesuffix(".yml")}/models/net_g_10.pth').exists()
