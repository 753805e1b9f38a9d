"""The real entry points in a temporary folder: sst-train and sst-test, torchrun, kills, refusals."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import tiny_options
from PIL import Image
from runs import REPOSITORY, assert_equal_to_the_bit, command, environment, losses, run, weights

from sst.archs import SST
from sst.checkpoints.pretrained import save_pretrained
from sst.driver.run import run_testing, run_training

OWN_OPTIONS = """\
_base_: [{repository}/options/finetune.yml]
name: own
datasets:
  train: {{gt_size: 24, batch_size: 5, num_workers: 1}}
  val_1: {{dataroot_gt: data/HR, dataroot_lq: data/LR}}
train: {{total_iter: 2, warmup_iter: 1}}
val: {{val_freq: 2, pbar: false}}
"""


def test_train_then_test(folder):
    done = run(folder, 'sst-train', '-opt', 'tiny.yml')
    experiment = folder / 'experiments' / 'tiny'
    assert {path.name for path in (experiment / 'models').iterdir()} == {
        'net_g_3.pth',
        'net_g_6.pth',
        'net_g_latest.pth',
    }
    assert {path.name for path in (experiment / 'training_states').iterdir()} == {'3.state', '6.state'}
    assert 'total_iter: 6' in (experiment / 'options.yml').read_text()
    assert 'torch' in (experiment / 'environment.txt').read_text()
    assert re.search(r'Validation \S+, iteration 6', next(experiment.glob('train_*.log')).read_text())
    assert 'Traceback' not in done.stderr
    assert 'Warning' not in done.stderr
    assert len(losses(folder)) == 6

    done = run(folder, 'sst-test', '-opt', 'tiny_test.yml')
    results = folder / 'results' / 'tiny_test'
    figures = json.loads((results / 'metrics.json').read_text())
    assert figures.keys() == {'here'}
    assert figures['here']['images'] == 5
    with open(results / 'metrics.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert np.mean([float(row['psnr']) for row in rows]) == pytest.approx(figures['here']['psnr'])
    assert f'{figures["here"]["psnr"]:.2f}' in done.stdout
    assert re.search(r'Manga109.*missing', done.stdout)
    assert len(list((results / 'visualization' / 'here').iterdir())) == 5


def test_the_saved_options_repeat_the_run(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    before = weights(folder)
    options = folder / 'experiments' / 'tiny' / 'options.yml'
    (folder / 'again.yml').write_text(options.read_text())
    run(folder, 'sst-train', '-opt', 'again.yml', '--force_yml', 'name=again')
    assert_equal_to_the_bit(before, weights(folder, 'again'))


def test_own_pictures_of_any_kind_train_in_one_command(folder):
    (folder / 'own.yml').write_text(OWN_OPTIONS.format(repository=REPOSITORY))
    save_pretrained(SST(**tiny_options(num_blocks=1, window_sizes=[4, 8])), folder / 'net.safetensors')
    own = folder / 'own'
    (own / 'more').mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    cv2.imwrite(str(own / 'odd.png'), noise)
    cv2.imwrite(str(own / 'grey.png'), noise[..., 0])
    cv2.imwrite(str(own / '16 bit.png'), noise.astype(np.uint16) * 257)
    cv2.imwrite(str(own / 'small.jpg'), noise[:5, :9])
    Image.fromarray(noise).quantize(8).save(own / 'more' / 'palette.png')
    files = ('datasets:train:dataroot_gt=own', 'path:pretrain_network_g=net.safetensors')
    run(folder, 'sst-train', '-opt', 'own.yml', '--force_yml', *files)
    log = next((folder / 'experiments' / 'own').glob('train_*.log')).read_text()
    assert re.search('Training: 5 .*own', log)
    assert all(value.isfinite().all() for value in weights(folder, 'own').values())


@pytest.mark.parametrize('processes', [1, 2])
def test_a_killed_run_goes_on_to_the_same_weights(folder, processes):
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', 'name=whole', processes=processes)
    arguments = ('-opt', 'tiny.yml', '--auto_resume', '--force_yml', 'train:total_iter=6')
    state = folder / 'experiments' / 'tiny' / 'training_states' / '3.state'
    with subprocess.Popen(
        command('sst-train', *arguments, processes=processes),
        cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 200
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert state.exists()
    run(folder, 'sst-train', *arguments, processes=processes)
    assert_equal_to_the_bit(weights(folder, 'whole'), weights(folder))


def test_two_processes_train_as_one_does(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', 'name=two', processes=2)
    assert losses(folder, 'two') == pytest.approx(losses(folder), rel=1e-5)

    one = run(folder, 'sst-test', '-opt', 'tiny_test.yml')
    figures = (folder / 'results' / 'tiny_test' / 'metrics.csv').read_text()
    two = run(folder, 'sst-test', '-opt', 'tiny_test.yml', processes=2)
    assert (folder / 'results' / 'tiny_test' / 'metrics.csv').read_text() == figures
    assert one.stdout == two.stdout


def test_a_fault_in_one_process_is_told(folder):
    (folder / 'data' / 'HR' / 'p3.png').write_bytes(b'torn')
    (folder / 'data' / 'val').mkdir()
    for name in ('HR', 'LR'):
        (folder / 'data' / 'val' / name).mkdir()
        for picture in (folder / 'data' / name).glob('p0*'):
            picture.rename(folder / 'data' / 'val' / name / picture.name)
    roots = [f'datasets:val_1:dataroot_{key}=data/val/{name}' for key, name in (('gt', 'HR'), ('lq', 'LR'))]
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', *roots, processes=2, code=1)
    assert re.search(r'^error: dataset demo: picture .*p3\.png cannot be read', done.stderr, re.MULTILINE)


def test_a_finished_run_can_be_made_longer(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', 'name=whole', 'train:scheduler:periods=[9]')
    short = ['train:scheduler:periods=[9]', 'logger:save_checkpoint_freq=100', 'train:total_iter=4']
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', *short)
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--auto_resume', '--force_yml', 'train:scheduler:periods=[9]')
    assert_equal_to_the_bit(weights(folder, 'whole'), weights(folder))


def test_weights_themselves_are_tested_when_asked(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    figures = []
    for option in ('val:use_ema=true', 'val:use_ema=false', 'path:param_key_g=params'):
        run(folder, 'sst-test', '-opt', 'tiny_test.yml', '--force_yml', option)
        figures.append(json.loads((folder / 'results' / 'tiny_test' / 'metrics.json').read_text())['here'])
    assert figures[0] != figures[1] == figures[2]


def test_a_finished_run_has_nothing_left_to_do(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    before = weights(folder)
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--auto_resume')
    assert 'finished' in done.stderr
    assert_equal_to_the_bit(before, weights(folder))


def test_dry_run_plans_and_writes_nothing(folder):
    before = sorted(folder.rglob('*'))
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--dry-run')
    assert re.search(r'arameters', done.stdout)
    assert sorted(folder.rglob('*')) == before


def test_a_terminal_without_the_letters_shows_their_numbers(folder, monkeypatch):
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--dry-run', '--force_yml', 'name=größe')
    assert r'gr\xf6\xdfe' in done.stdout


@pytest.mark.parametrize(
    'feature', ['train:amp=bf16', 'train:accumulate=2', 'train:grad_clip=0.5', 'train:pixel_opt:type=MSELoss']
)
def test_training_options(folder, feature):
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', feature, 'train:total_iter=2')
    assert all(value.isfinite().all() for value in weights(folder).values())


HEADERS = Path(sysconfig.get_path('include'), 'Python.h')


@pytest.mark.skipif(not HEADERS.exists(), reason='torch.compile needs the headers of Python: apt install python3-dev')
def test_torch_compile(folder):
    short = ['network_g:window_sizes=[4]', 'train:total_iter=3']  # one kind of layer: compiling takes most of the time
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', *short)
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', *short, 'name=compiled', 'train:compile=true')
    assert losses(folder, 'compiled') == pytest.approx(losses(folder), rel=1e-4)


# ---- refusals: one line each, no stack trace, nothing written

REFUSALS = [
    (['train:total_itr=6'], r'train\.total_itr.*total_iter'),
    (['network_g:num_heads=5'], r'network_g\.num_heads.*5.*12'),
    (['network_g:window_sizes=[4,8,16]', 'network_g:bias:ranks=[4,4]'], r'network_g.*ranks'),
    (['network_g:dmi=12'], r'network_g\.dmi.*dim'),
    (['train:optim_g:lrr=1'], r'train\.optim_g\.lrr.*lr'),
    (['train:pixel_opt:type=L2Los'], r'train\.pixel_opt.*L2Los'),
    (['val:metrics:psnr:crop_bordr=2'], r'val\.metrics\.psnr\.crop_bordr'),
    (['datasets:train:batch_size=four'], r'datasets\.train\.batch_size.*four'),
    (['datasets:train:batch_size_per_gpu=0'], r'datasets\.train\.batch_size.*0'),
    (['train:amp=fp8'], r'train\.amp.*fp8'),
    (['nonsense'], r'nonsense'),
]


@pytest.fixture
def refused(folder, monkeypatch, capfd):
    """Runs a program in this process, which is quick; it must refuse. Gives what it says."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

    def started(program, *arguments):
        capfd.readouterr()
        assert (run_training if program == 'sst-train' else run_testing)(folder, arguments) == 2
        told = capfd.readouterr().err
        assert 'Traceback' not in told
        return told

    return started


def assert_refused(folder, told, words, before):
    """What a program said is one line that matches `words`, and the folder is as it was."""
    assert len(told.strip().splitlines()) == 1, told
    assert re.search(words, told)
    assert sorted(folder.rglob('*')) == before


def test_the_installed_program_refuses_in_one_line(folder):
    overrides, words = REFUSALS[0]
    before = sorted(folder.rglob('*'))
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', *overrides, code=2)
    assert_refused(folder, done.stderr, words, before)


@pytest.mark.parametrize(('overrides', 'words'), REFUSALS, ids=[' '.join(overrides) for overrides, _ in REFUSALS])
def test_nonsense_is_refused_in_one_line(folder, refused, overrides, words):
    before = sorted(folder.rglob('*'))
    assert_refused(folder, refused('sst-train', '-opt', 'tiny.yml', '--force_yml', *overrides), words, before)


def test_everything_missing_is_listed_at_once(folder, refused):
    missing = {
        'datasets:train:dataroot_gt': 'no/HR',
        'datasets:val_1:dataroot_lq': 'no/LR',
        'path:pretrain_network_g': 'no/net.pth',
    }
    told = refused('sst-train', '-opt', 'tiny.yml', '--force_yml', *(f'{k}={v}' for k, v in missing.items()))
    for path in missing.values():
        assert path in told
    assert 'prepare_data.py demo' in told
    assert not (folder / 'experiments').exists()


def test_no_test_set_at_all_is_an_error(folder, refused):
    (folder / 'experiments' / 'tiny' / 'models').mkdir(parents=True)
    torch.save({'params': {}}, folder / 'experiments' / 'tiny' / 'models' / 'net_g_latest.pth')
    told = refused('sst-test', '-opt', 'tiny_test.yml', '--force_yml', 'datasets:test_1:dataroot_gt=no')
    assert 'ask manga109.org' in told
    assert not (folder / 'results').exists()


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\x03\x04 torn'], ids=['empty', 'text', 'truncated'])
def test_weights_that_are_none_are_one_line(folder, refused, content):
    (folder / 'net.pth').write_bytes(content)
    told = refused('sst-train', '-opt', 'tiny.yml', '--force_yml', 'path:pretrain_network_g=net.pth')
    assert re.search(r'error: .*net\.pth', told)


def test_weights_of_another_network_are_one_line(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', 'train:total_iter=1')
    done = run(folder, 'sst-test', '-opt', 'tiny_test.yml', '--force_yml', 'network_g:dim=16', code=2)
    assert 'dim is 12 in the file, 16 in network_g' in done.stderr
    assert 'Traceback' not in done.stderr


def test_scripts_run_from_the_repository_without_installation():
    for script in ('sst/train.py', 'sst/test.py'):
        done = subprocess.run(
            [sys.executable, script, '--help'], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert '--auto_resume' in done.stdout


CHECKED_BEFORE = [
    (['network_g:backend=flash'], r'flash.*CUDA.*auto, (fused, )?(native, )?sdpa, reference'),
    (['train:optim_g:betas=[0.9]'], r'train\.optim_g\.betas'),
    (['train:optim_g:type=LBFGS'], r'train\.optim_g\.type.*LBFGS.*AdamW'),
    (['model_type=HiFaceGANModel'], r'model_type.*SSTModel'),
    (
        ['path:pretrain_network_g=other.pth'],
        r'other\.pth.*dim is 16 in the file, 12 in network_g.*network_g:type=from_weights',
    ),
]


@pytest.mark.parametrize(('overrides', 'words'), CHECKED_BEFORE, ids=[' '.join(o) for o, _ in CHECKED_BEFORE])
def test_what_cannot_work_is_refused_before_an_older_run_is_touched(folder, refused, overrides, words):
    net = SST(**tiny_options(dim=16, num_blocks=1, window_sizes=[4, 8], bias={'type': 'RIB', 'ranks': 4}))
    torch.save({'params': net.state_dict()}, folder / 'other.pth')
    (folder / 'experiments' / 'tiny').mkdir(parents=True)
    before = sorted(folder.rglob('*'))
    assert_refused(folder, refused('sst-train', '-opt', 'tiny.yml', '--force_yml', *overrides), words, before)


def test_a_state_of_another_optimiser_is_one_line(folder):
    run(folder, 'sst-train', '-opt', 'tiny.yml')
    before = sorted(folder.rglob('*'))
    state = 'path:resume_state=experiments/tiny/training_states/3.state'
    done = run(folder, 'sst-train', '-opt', 'tiny.yml', '--force_yml', state, 'train:optim_g:type=Adam', code=2)
    assert sorted(folder.rglob('*')) == before
    assert re.search(r"3\.state.*\['AdamW'\].*\['Adam'\]", done.stderr)
    assert 'Traceback' not in done.stderr
