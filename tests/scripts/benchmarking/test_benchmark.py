import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import pytest

import benchmark
from benchmarking import report
from benchmarking import run as run_module
from benchmarking.costs import Ceilings
from measuring.results import write_chart
from sst.ops.backends import fused
from sst.utils.errors import UserError
from standings.entries import RIVALS

ROOT = Path(__file__).parents[3]
CEILINGS = Ceilings(1e12, 1e11, 1e11, 4)


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Arguments for rows on the CPU that are not run: the published style takes 2 s, rivals 1, all others 0.5."""

    def in_process(task):
        if 'machine' in task:
            return {'machine': {'device': 'a processor', 'threads': 1, 'load': 0.0}, 'ceilings': asdict(CEILINGS)}
        if task['row']['model'] in RIVALS:
            return {'times': [1.0, 1.0], 'memory': 4_000_000}
        time = 2.0 if task['row']['mode'] == 'published' else 0.5
        return {'times': [time, time], 'memory': 3_000_000, 'error': 1e-7, 'wrong': False, 'attention': 'sdpa'}

    monkeypatch.setattr(run_module, 'in_process', in_process)
    return ['--device', 'cpu', '--json', str(tmp_path / 'out' / 'result.json')]


def test_table_json_csv_and_chart(arguments, tmp_path, capsys):
    chart, table = tmp_path / 'chart.png', tmp_path / 'table.csv'
    benchmark.main([*arguments, '--chart', str(chart), '--csv', str(table), '--backends', 'sdpa,flash'])
    printed = capsys.readouterr().out
    assert 'SST-light x2, inference, 1 x 256 x 256 LR pixels:\n893,340 parameters' in printed
    assert 'SST-light x2, training, 4 x 64 x 64 LR pixels:' in printed
    lines = [line.replace('│', ' ').split() for line in printed.splitlines()]
    assert ['fast', 'sdpa', 'float32', '500', '0.0%', '4.00', '3'] in [line[:7] for line in lines]
    assert ['published', 'sdpa', 'float32', '2,000', '0.0%', '1.00', '3'] in [line[:7] for line in lines]
    assert "not measured: SST-light fast flash float32: attention backend 'flash'" in printed
    result = json.loads((tmp_path / 'out' / 'result.json').read_text())
    rows = list(csv.DictReader(table.open(newline='')))
    assert [row['mode'] for row in rows] == [row['mode'] for row in result['rows']]
    assert len(rows) == 6
    assert cv2.imread(str(chart)) is not None


def test_rivals_are_compared_with_the_sst_before_them(arguments, tmp_path, capsys):
    models = ['--models', 'SST-light,SwinIR-light,SST-light+,ELAN-light', '--modes', 'fast,published']
    benchmark.main([*arguments, *models, '--tasks', 'inference', '--size', '16x16', '--csv', str(tmp_path / 'a.csv')])
    rows = json.loads((tmp_path / 'out' / 'result.json').read_text())['rows']
    assert [(row['model'], row['mode'], row['against'], row['ratio']) for row in rows] == [
        ('SST-light', 'fast', 'SST-light', 1),
        ('SST-light', 'published', 'SST-light', 4),
        ('SwinIR-light', 'fast', 'SST-light', 2),
        ('SST-light+', 'fast', 'SST-light+', 1),
        ('SST-light+', 'published', 'SST-light+', 4),
        ('ELAN-light', 'fast', 'SST-light+', 2),
    ]
    assert rows[2].keys().isdisjoint({'speed', 'error', 'floor'})
    assert (rows[2]['parameters'], rows[2]['multiply_adds'] > 0) == (910_152, True)
    lines = [line.replace('│', ' ').split() for line in capsys.readouterr().out.splitlines()]
    assert ['SwinIR-light', 'fast', 'float32', '1,000', '2.00', '0.0%', '-', '4', '-', '-'] in lines


def test_against_is_what_a_user_would_take_instead(arguments, tmp_path):
    benchmark.main([*arguments, '--against', '--size', '32x32'])
    rows = json.loads((tmp_path / 'out' / 'result.json').read_text())['rows']
    pairs = {row['model']: row['against'] for row in rows}
    assert pairs == {
        'SST-light': 'SST-light',
        'SwinIR-light': 'SST-light',
        'ATD-light': 'SST-light',
        'SST-L': 'SST-L',
        'SwinIR': 'SST-L',
        'HAT': 'SST-L',
    }
    assert [row['model'] for row in rows if row['mode'] == 'onnx'] == ['SST-light', 'SST-L']
    assert {(row['task'], row['scale'], row['height'], row['width']) for row in rows} == {('inference', 2, 16, 16)}


def test_a_rival_whose_package_is_missing_is_a_row_with_its_reason(arguments, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    benchmark.main([*arguments, '--models', 'SST-light,HAT', '--tasks', 'inference', '--size', '16x16'])
    assert 'sst-sr[spandrel]' in capsys.readouterr().out


def test_figures_of_the_paper_stand_beside_the_same_model_and_size(arguments, capsys):
    benchmark.main([*arguments, '--tasks', 'inference', '--models', 'SST-L+', '--size', '1280x720'])
    assert 'in the paper 644.9 ms and 2989 MB on an H200' in capsys.readouterr().out


def test_without_matplotlib_everything_but_the_chart(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    benchmark.main([*arguments, '--tasks', 'inference', '--chart', str(tmp_path / 'chart.png')])
    assert "pip install 'sst-sr[plots]'" in capsys.readouterr().out
    assert (tmp_path / 'out' / 'result.json').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--models', 'SST-huge'], '--models SST-huge: '),
        (['--scales', '2,5'], '--scales 5: '),
        (['--backends', 'fast'], '--backends fast: .*reference'),
        (['--json', '/dev/null/result.json'], '/dev/null: '),
        (['--modes', 'slow'], '--modes slow: .*published'),
    ],
)
def test_unknown_words_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.main(arguments)
    assert stop.value.code == 2
    assert re.fullmatch(f'error: {message}.*\n', capsys.readouterr().err)


def test_wrong_result_fails_the_command(arguments, monkeypatch, capsys):
    right = run_module.in_process
    monkeypatch.setattr(run_module, 'in_process', lambda task: right(task) | {'wrong': True})
    with pytest.raises(SystemExit) as stop:
        benchmark.main([*arguments, '--tasks', 'inference'])
    assert stop.value.code == 1
    assert 'WRONG' in capsys.readouterr().out


def test_no_chart_of_networks_without_published_psnr(tmp_path):
    with pytest.raises(UserError, match='chart.png'):
        write_chart({'rows': []}, tmp_path / 'chart.png', report.draw)


def test_gpu_check_without_gpu_is_one_line():
    environment = os.environ | {'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': ''}
    command = ['bash', str(ROOT / 'scripts' / 'gpu_check.sh')]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert 'finds no usable GPU; on the CPU:' in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
def test_gpu_check_rehearses_every_step(tmp_path):
    command = ['bash', str(ROOT / 'scripts' / 'gpu_check.sh'), '--rehearse', '--out', str(tmp_path)]
    answer = subprocess.run(command, env=os.environ | {'PYTHON': sys.executable}, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    steps = ('tests', 'training', 'inference', 'kernels', 'sweep')
    assert {file.stem for file in tmp_path.glob('*.txt')} == set(steps)
    assert {file.stem for file in tmp_path.glob('*.json')} == {'training', 'inference', 'sweep'}


@pytest.mark.parametrize('arguments', [['--only', 'swep'], ['--seconds', 'many'], ['--out'], ['--fast']])
def test_gpu_check_refuses_what_it_does_not_know(arguments):
    answer = subprocess.run(
        ['bash', str(ROOT / 'scripts' / 'gpu_check.sh'), *arguments], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
