import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import sweep_kernels
from sst.ops.backends import fused
from sst.ops.kernels.configurations import Configuration
from tuning import measuring, sweep
from tuning.compiling import Usage

ROOT = Path(__file__).parents[3]
LAYER = ['--windows', '8', '--kernels', 'forward', '--dtypes', 'float16']
CHOICE = [*LAYER, '--blocks', '32', '64', '--warps', '4', '--stages', '2']
needs_triton = pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv('TRITON_INTERPRET', os.environ.get('TRITON_INTERPRET', '0'))  # put back after the command


def refusal(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        sweep_kernels.main([*arguments, '--offline'])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_without_triton_it_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'triton', None)
    assert "pip install 'sst-sr[fused]'" in refusal([], capsys)


@needs_triton
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--windows', '7'], '--windows 7: the models have 16 32 48 64 96'),
        (['options/none.yml'], 'options/none.yml'),
        (['--json', '/dev/null/sweep.json'], '/dev/null: '),
    ],
)
def test_refusals_are_one_line(arguments, message, capsys):
    assert re.fullmatch(f'error: .*{message}.*\n', refusal(arguments, capsys))


@needs_triton
def test_without_a_gpu_candidates_are_compiled(tmp_path):
    """The whole command, in a process of its own: the interpreter that other tests need must be off."""
    command = [sys.executable, 'scripts/sweep_kernels.py', 'options/demo.yml', '--json', str(tmp_path / 'sweep.json')]
    environment = os.environ | {'TRITON_CACHE_DIR': str(tmp_path), 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run(
        [*command, *CHOICE, '--capabilities', '80'], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'no usable GPU' in done.stderr
    assert 'sm_80' in done.stdout
    outcome = json.loads((tmp_path / 'sweep.json').read_text())
    assert (outcome['offline'], outcome['interrupted'], outcome['not_reached']) == (True, False, 0)
    (build,) = outcome['builds']
    assert (build['kernel'], build['capability'], build['part']['window']) == ('forward', 80, 8)
    assert build['best'] is None
    assert len(build['trials']) == 4  # 2 x 2 sizes of blocks, the table's among them
    for trial in build['trials']:
        assert 0 < trial['usage']['registers'] <= 255
        assert trial['excluded'] == ('spills' if trial['usage']['spilled'] else '')


@pytest.fixture
def gpu(monkeypatch):
    """What passes for a GPU: the interpreter, with a clock by which 32 x 32 is fastest and 64 x 32 spills registers."""
    small, spilling = Configuration(32, 32, num_warps=2), Configuration(64, 32)
    launched = []
    run = measuring.launch.forward

    def usage_of(build, configuration):
        return Usage(200, 8 if configuration == spilling else 0, 1024)

    def forward(call, configuration, differentiable):
        launched.append(configuration)
        return run(call, configuration, differentiable)

    def stopwatch(call):
        call()
        return 0.5 if launched[-1] == small else 1.0

    monkeypatch.setattr(measuring.launch, 'forward', forward)
    monkeypatch.setattr(measuring, 'PICTURE', (1, 9, 13))
    monkeypatch.setattr(sweep, 'usage_of', usage_of)
    monkeypatch.setattr(sweep, 'shared_memory', lambda capability, device: 99 * 1024)
    monkeypatch.setattr(sweep, 'Stopwatch', lambda device: stopwatch)
    monkeypatch.setattr(sweep, 'ProcessPoolExecutor', lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(sweep_kernels, 'usable_gpu', lambda: torch.device('cpu'))
    monkeypatch.setattr(sweep_kernels, 'capability', lambda device: 90)
    return launched


@needs_triton
def test_on_a_gpu_the_fastest_right_candidate_becomes_a_row(gpu, tmp_path, capsys):
    path = tmp_path / 'sweep.json'
    args = sweep_kernels.read_arguments([str(ROOT / 'options' / 'demo.yml'), *CHOICE, '--json', str(path)])
    assert sweep_kernels.run(args)
    printed = capsys.readouterr().out
    configuration = 'Configuration(32, 32, num_warps=2, num_stages=2), heads=(16, 16)'
    assert f"Row(('forward',), (torch.float16,), (90, 90), (32, 32), (8, 8), {configuration})," in printed
    (build,) = json.loads(path.read_text())['builds']
    assert build['gain'] == 2
    assert Configuration(64, 32) not in gpu
    assert [trial['excluded'] for trial in build['trials']].count('spills') == 1
    assert all(trial['error'] < 2e-3 for trial in build['trials'] if not trial['excluded'])


@needs_triton
def test_what_the_time_did_not_suffice_for_is_said(gpu, tmp_path, capsys):
    path = tmp_path / 'sweep.json'
    options = [str(ROOT / 'options' / 'demo.yml'), *CHOICE, '--seconds', '0', '--json', str(path)]
    assert sweep_kernels.run(sweep_kernels.read_arguments(options))
    assert '1 of 1 were not reached in 0 s (--seconds)' in capsys.readouterr().out
    assert json.loads(path.read_text())['not_reached'] == 1
    assert gpu == []
