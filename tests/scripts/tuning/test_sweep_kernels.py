import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sweep_kernels
from sst.ops.backends import fused
from tuning import compiling

ROOT = Path(__file__).parents[3]
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
    monkeypatch.setattr(compiling, 'find_spec', lambda name: None)
    assert refusal([], capsys) == "error: Triton is not installed (pip install 'sst-sr[fused]')\n"


@needs_triton
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--windows', '7'], '--windows 7: the models have 16 32 48 64 96'),
        (['options/none.yml'], 'options/none.yml'),
        (['--json', '/dev/null/sweep.json'], '/dev/null: cannot be made'),
    ],
)
def test_refusals_are_one_line(arguments, message, capsys):
    assert re.fullmatch(f'error: .*{message}.*\n', refusal(arguments, capsys))


@needs_triton
def test_without_a_gpu_candidates_are_compiled(tmp_path):
    """The whole command, in a process of its own: the interpreter that other tests need must be off."""
    command = [sys.executable, 'scripts/sweep_kernels.py', 'options/demo.yml', '--json', str(tmp_path / 'sweep.json')]
    choice = '--windows 8 --kernels forward --dtypes float16 --blocks 32 64 --warps 4 --stages 2 --capabilities 80'
    environment = os.environ | {'TRITON_CACHE_DIR': str(tmp_path), 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([*command, *choice.split()], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'There is no usable GPU: candidates are only compiled' in done.stderr
    assert 'sm_80' in done.stdout
    outcome = json.loads((tmp_path / 'sweep.json').read_text())
    assert (outcome['offline'], outcome['interrupted'], outcome['not_reached']) == (True, False, 0)
    (build,) = outcome['builds']
    assert (build['kernel'], build['capability'], build['layer']['window']) == ('forward', 80, 8)
    assert build['best'] is None
    assert len(build['trials']) == 5  # the table's and 2 x 2 sizes of blocks
    for trial in build['trials']:
        assert 0 < trial['usage']['registers'] <= 255
        assert trial['excluded'] == ('spills' if trial['usage']['spilled'] else '')
