"""docs/extend.md: its files, in an empty folder outside the repository, train for 10 iterations."""

import json
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


CONTRAST = """
from basicsr.utils.registry import METRIC_REGISTRY

@METRIC_REGISTRY.register()
def calculate_contrast(img, **others):
    return float(img.std())
"""
TRAIN = """
_base_: tiny.yml
imports: [my_bias.py, my_loss.py, contrast.py]
network_g: {bias: {type: Distance}}
train: {losses: [{type: FourierLoss}], pixel_opt: null}
val: {metrics: {contrast: {type: calculate_contrast}}}
"""
TEST = """
_base_: tiny_test.yml
name: mine_test
imports: [my_bias.py, contrast.py]
datasets:
  test_1: {name: lr_alone, type: SingleImageDataset, dataroot_lq: data/LR, io_backend: {type: disk}}
network_g: {bias: {type: Distance}}
val: {metrics: {contrast: {type: calculate_contrast}}}
"""


def test_parts_of_a_user_resume_and_test(folder):
    for name in ('my_bias.py', 'my_loss.py'):
        (folder / name).write_text(FILES[name], encoding='utf-8')
    for name, text in (('contrast.py', CONTRAST), ('mine.yml', TRAIN), ('mine_test.yml', TEST)):
        (folder / name).write_text(text)
    whole = ('train:scheduler:periods=[6]', 'logger:save_checkpoint_freq=2')
    run(folder, 'sst-train', '-opt', 'mine.yml', '--force_yml', 'train:total_iter=4', *whole)
    run(folder, 'sst-train', '-opt', 'mine.yml', '--auto_resume', '--force_yml', 'train:total_iter=6', *whole)
    assert (folder / 'experiments/tiny/models/net_g_6.pth').exists()
    run(folder, 'sst-test', '-opt', 'mine_test.yml')
    figures = json.loads((folder / 'results/mine_test/metrics.json').read_text())['lr_alone']
    assert figures['images'] == 5
    assert figures['contrast'] > 0
    assert 'psnr' not in figures  # there is no HR to compare with
