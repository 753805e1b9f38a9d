"""The script as a user starts it, on pictures and a network that take seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_noise

import compare_training
from comparing.train import read_run, write_start

ROOT = Path(__file__).parents[2]
ITERATIONS = 3
OPTIONS = """\
_base_: [{root}/options/demo.yml]
name: tiny
datasets:
  train: {{dataroot_gt: {data}/HR, dataroot_lq: {data}/LR, gt_size: 24, batch_size: 2, num_workers: 0}}
  val_1: null
network_g: {{dim: 12, num_blocks: 1, window_sizes: [4, 8], num_heads: 2, bias: {{ranks: 4}}}}
train: {{total_iter: 6, warmup_iter: 2}}
"""


@pytest.fixture
def options(tmp_path):
    for index in range(2):
        write_noise(tmp_path / 'data' / 'HR' / f'p{index}.png', 36, 44, index)
        write_noise(tmp_path / 'data' / 'LR' / f'p{index}x2.png', 18, 22, index)
    file = tmp_path / 'tiny.yml'
    file.write_text(OPTIONS.format(root=ROOT, data=tmp_path / 'data'), encoding='utf-8')
    return str(file)


def start(*arguments):
    command = [sys.executable, str(ROOT / 'scripts' / 'compare_training.py'), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_curves_table_and_chart(options, tmp_path, capsys):
    results, chart = tmp_path / 'out' / 'curves.json', tmp_path / 'out' / 'curves.png'
    done = start(
        '-opt', options, '--iterations', ITERATIONS, '--ways', 'auto,bf16', '--json', results, '--chart', chart
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(results.read_text())
    curves = {curve['name']: curve for curve in outcome['curves']}
    assert list(curves) == ['reference', 'nudged', 'auto', 'bf16']
    assert all(len(curve['losses']) == ITERATIONS for curve in curves.values())
    first = curves['reference']['losses'][0]
    assert curves['auto']['losses'][0] == pytest.approx(first, rel=1e-6)  # the same weights and samples
    assert curves['bf16']['losses'][0] == pytest.approx(first, rel=2e-2)
    assert curves['bf16']['losses'] != curves['auto']['losses']
    assert chart.stat().st_size > 10_000

    # the same from the file; a curve that was tampered with is found
    tampered = next(curve for curve in outcome['curves'] if curve['name'] == 'auto')
    tampered['losses'][1] *= 1.001
    results.write_text(json.dumps(outcome))
    with pytest.raises(SystemExit) as stop:
        compare_training.main(['--read', str(results), '--json', str(tmp_path / 'again.json')])
    assert stop.value.code == 1
    assert 'WRONG' in capsys.readouterr().out


def test_a_run_that_fails_is_one_line(options, tmp_path):
    done = start(
        '-opt', options, '--iterations', 1, '--ways', 'auto', '--json', tmp_path / 'out.json',
        '--force_yml', 'datasets:train:gt_size=400',
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert line.startswith('error: reference: training ended with exit code ')
    assert not (tmp_path / 'out.json').exists()


REFUSED = [
    (['--ways', 'auto,quick'], 'error: --ways quick: '),
    (['--iterations', '0'], 'error: --iterations 0: '),
    (['--iterations', '7'], 'trains 6; give so many at most'),
    (['-opt', str(ROOT / 'options' / 'test_demo.yml')], 'no train section; give a file that sst/train.py takes'),
    (['-opt', 'gone.yml'], 'gone.yml'),
    (['--force_yml', 'datasets:train:dataroot_gt=gone'], 'error: missing: '),
    (['--force_yml', 'network_g={type: EDSR, num_in_ch: 3, num_out_ch: 3, upscale: 2}'], 'network_g.type'),
    (['--read', 'gone.json'], 'error: --read gone.json: '),
]  # fmt: skip


@pytest.mark.parametrize(('arguments', 'says'), REFUSED, ids=[' '.join(arguments) for arguments, _ in REFUSED])
def test_bad_input_is_one_line(options, tmp_path, capsys, arguments, says):
    with pytest.raises(SystemExit) as stop:
        compare_training.main(['-opt', options, '--iterations', '1', '--json', str(tmp_path / 'out.json'), *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count('\n') == 1


def test_nudged_weights_are_the_next_numbers(options, tmp_path):
    import torch

    write_start(read_run(options, [], 1), tmp_path)
    start, nudged = (
        torch.load(tmp_path / name, weights_only=True)['params'] for name in ('start.pth', 'start_nudged.pth')
    )
    for name, value in start.items():
        assert (nudged[name] != value).all()
        assert torch.nextafter(nudged[name], value).equal(value)
