"""The league from the command line: small networks, weights and data sets in a temporary folder."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers import write_noise

import league
from benchmarking.rows import Row
from sst.checkpoints.networks import built
from standings import tables
from standings.entries import Entry
from standings.measure import work

ROOT = Path(__file__).parents[3]
NETWORK = {'dim': 12, 'num_blocks': 1, 'window_sizes': [4, 8], 'num_heads': 2, 'bias': {'ranks': 2}}
SIZES = ['--size', '16x16', '--batch', '1', '--patch', '8', '--repeats', '2', '--seconds', '0']


@pytest.fixture
def folder(tmp_path):
    """An option file of a small SST with its weights, one of a network that cannot be built, and one data set."""
    base = ROOT / 'options' / 'test_SST_light_x2.yml'
    small = {'_base_': [str(base)], 'name': 'small', 'network_g': NETWORK, 'path': {'pretrain_network_g': 'small.pth'}}
    broken = {'_base_': [str(base)], 'name': 'broken', 'network_g': {'dim': 13}}
    (tmp_path / 'small.yml').write_text(json.dumps(small))
    (tmp_path / 'broken.yml').write_text(json.dumps(broken))
    torch.save({'params': network(tmp_path).state_dict()}, tmp_path / 'small.pth')
    data = tmp_path / 'datasets' / 'benchmark' / 'Set5'
    write_noise(data / 'LR_bicubic' / 'X2' / 'onex2.png', 20, 24, 0)
    write_noise(data / 'HR' / 'one.png', 40, 48, 1)
    return tmp_path


def network(folder):
    return built(Entry(str(folder / 'small.yml'), 2).options()['network_g'], 'cpu')


def test_from_names_to_tables(folder):
    models = f'{folder / "small.yml"},ELAN-light,{folder / "broken.yml"}'
    command = [sys.executable, str(ROOT / 'scripts/league.py'), '--device', 'cpu', '--models', models, *SIZES]
    command += ['--root', str(folder), '--out', str(folder / 'out')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # because of the broken one
    outcome = json.loads((folder / 'out' / 'league.json').read_text())
    small, elan, broken = outcome['rows']
    assert small['parameters'] == sum(weight.numel() for weight in network(folder).parameters())
    assert elan['parameters'] == 620_916
    for row in (small, elan):
        assert all(row[name] > 0 for name in ('multiply_adds', 'training', 'training_memory', 'latency'))
        assert len(row['latency_times'][0]) == 2
    assert small['sets'].keys() == {'Set5'}
    assert len(small['evaluation']['weights']['sha256']) == len(small['evaluation']['data']['Set5']) == 64
    assert elan['reasons'].keys() == {'quality'}
    assert 'no weights' in elan['reasons']['quality']
    assert broken['reasons'].keys() == {'costs', 'training', 'latency', 'quality'}  # and the others went on
    assert torch.__version__.startswith(outcome['machine']['versions']['torch'])
    lines = list(csv.DictReader((folder / 'out' / 'league.csv').read_text().splitlines()))
    assert [line['model'] for line in lines] == ['small', 'ELAN-light', 'broken']
    assert float(lines[0]['Set5 PSNR']) == pytest.approx(small['sets']['Set5']['psnr'])
    assert lines[1]['Set5 PSNR (published)'] == '38.17'
    assert r'\textcolor{gray}{38.17}' in (folder / 'out' / 'league.tex').read_text()


@pytest.mark.parametrize(
    ('model', 'parameters', 'least'),
    [('ESC-RIB', 1_028_568, 400e9), (str(ROOT / 'options/test_SSTReal_x4.yml'), 54_986_502, 5e12)],
)
def test_costs_of_the_newer_networks(model, parameters, least):
    row = Row(model, 4, 'fast', '', 'float32', 'inference', 1, 8, 8, 'cpu', 2, 0.0)
    found = work({'what': 'costs', 'row': asdict(row)})
    assert found['parameters'] == parameters
    assert found['multiply_adds'] > least


def test_a_network_that_takes_whole_windows_only_is_counted_on_whole_windows():
    pytest.importorskip('spandrel')
    row = Row('DRCT', 2, 'fast', '', 'float32', 'inference', 1, 8, 8, 'cpu', 2, 0.0)
    found = work({'what': 'costs', 'row': asdict(row)})
    assert found == {'parameters': 13_991_867, 'multiply_adds': pytest.approx(4130e9, rel=1e-3)}


@pytest.mark.parametrize(
    ('reasons', 'expected'),
    [
        ([{}, {}], False),
        ([{'costs': "RuntimeError: shape '[1, 22]' is invalid"}, {}], True),
        ([{'quality': 'no weights: a.pth'}, {'costs': 'killed: out of memory', 'quality': 'no weights: b.pth'}], False),
        ([{'costs': 'out of memory', 'quality': 'no weights: a.pth'}] * 2, True),  # nothing was measured
        ([{'costs': 'no weights: a.pth', 'quality': 'no data sets'}] * 2, False),
    ],
)
def test_a_league_fails_by_its_rows(reasons, expected):
    assert league.failed([row('a', None, None, reasons=found) for found in reasons], ['costs', 'quality']) is expected


@pytest.mark.parametrize(
    'arguments',
    [
        ['--models', 'SwinIR-ligt'],
        ['--scales', '5'],
        ['--tasks', 'speed'],
        ['--out', '/dev/null/out'],
        ['--preset', 'real'],
        ['--images', 'no/folder'],
        ['--images', '.', '--metrics', 'psnr'],
        ['--metrics', 'speed'],
    ],
)
def test_bad_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        league.main(['--device', 'cpu', *arguments])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1


def row(name, latency, psnr, **changes):
    plain = {'name': name, 'scale': 2, 'published': {'latency': 0.5, 'sets': {}}, 'reasons': {}, 'latency': latency}
    return plain | {'sets': {'Set5': {'psnr': psnr, 'ssim': 0.9}}, **changes}


OUTCOME = {
    'size': (1280, 720),
    'batch': 8,
    'rows': [
        row('a', 0.2, 38.0),
        row('b', 0.1, 38.2),
        row('c', 0.3, 37.0),
        {**row('d', None, None, sets={}), 'reasons': {'latency': 'out of memory', 'quality': 'no weights: d.pth'}},
    ],
}


def test_the_best_is_bold_and_the_second_underlined():
    lines = {line.split(' | ')[0][2:]: line for line in tables.markdown(OUTCOME).splitlines() if line.startswith('| ')}
    text = tables.markdown(OUTCOME)
    assert '| a | <u>200</u> <sub>500</sub> |' in text
    assert '| b | **100** <sub>500</sub> |' in text
    assert '| c | 300 <sub>500</sub> |' in text
    assert '| d | out of memory <sub>500</sub> |' in text
    assert '| b | **38.20** |' in text
    assert lines['d'] == '| d | no weights | - |'
    latex = tables.latex(OUTCOME)
    assert r'b & \textbf{100} \textcolor{gray}{500} \\' in latex
    assert r'a & \underline{200} \textcolor{gray}{500} \\' in latex


def test_published_times_stand_only_beside_times_of_the_same_size():
    assert '<sub>500</sub>' not in tables.markdown(OUTCOME | {'size': (128, 128)})


def test_the_score_of_ntire_is_of_the_timed_size():
    rows = [row('a', 22.18e-3, 26.9, parameters=0.276e6, multiply_adds=16.70e9 * 1280 * 720 / 1024**2)]
    league.add_scores(rows)
    assert rows[0]['score'] == pytest.approx(2.718281828**2)


def test_images_without_hr(folder):
    write_noise(folder / 'photos' / 'one.png', 150, 200, 2)
    command = [sys.executable, str(ROOT / 'scripts/league.py'), '--device', 'cpu', '--preset', 'real', '--scales', '2']
    command += ['--models', str(folder / 'small.yml'), '--images', str(folder / 'photos'), '--root', str(folder)]
    done = subprocess.run([*command, '--out', str(folder / 'out')], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((folder / 'out' / 'league.json').read_text())['rows']
    assert row['reasons'] == {}
    assert row['sets']['photos'].keys() == {'niqe'}
