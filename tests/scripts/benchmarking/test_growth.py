"""Growth with the size of images: small networks, from the command line and in this process."""

import json
import os

import cv2
import pytest

import benchmark
from benchmarking import passes
from benchmarking import run as run_module
from benchmarking.growth import add_powers
from benchmarking.passes import Point, measure_passes
from sst.inference import memory


@pytest.fixture
def quiet(monkeypatch):
    """This process does not change its allocator."""
    monkeypatch.setattr(passes.sst, 'keep_memory', bool)


def point(model, **changes):
    return Point(**{'model': model, 'scale': 2, 'side': 144, 'way': 'whole', 'device': 'cpu', 'seconds': 0.0} | changes)


def test_from_the_command_line_to_table_json_and_chart(model, tmp_path, capsys):
    files = ['--json', str(tmp_path / 'growth.json'), '--chart', str(tmp_path / 'growth.png')]
    options = ['--device', 'cpu', '--models', model, '--seconds', '0', '--threads', '1', '--rounds', '2']
    benchmark.main(['--grow', '16,8', *options, *files])
    outcome = json.loads((tmp_path / 'growth.json').read_text())
    assert outcome['machine']['threads'] == 1
    assert [(row['side'], row['way'], row['tiles']) for row in outcome['rows']] == [(8, 'whole', 1), (16, 'whole', 1)]
    assert all(len(row['times']) == 2 and row['latency'] > 0 and row['memory'] > 0 for row in outcome['rows'])
    assert [('power' in row) for row in outcome['rows']] == [False, True]
    assert cv2.imread(str(tmp_path / 'growth.png')) is not None
    assert '16 x 16' in capsys.readouterr().out


def test_tiles_where_sst_upscale_takes_several(model, quiet, monkeypatch):
    assert measure_passes(point(model, way='tiles')) == {'refused': passes.ONE_TILE}
    monkeypatch.setattr(memory, 'MOST_ON_CPU', 1_000_000)
    assert measure_passes(point(model, way='tiles'))['tiles'] == 4
    whole = measure_passes(point(model))
    assert whole['tiles'] == len(whole['times']) == 1
    assert measure_passes(point('ELAN-light', side=24))['tiles'] == 1


def test_what_does_not_fit_into_memory_is_refused(model, quiet, monkeypatch):
    monkeypatch.setattr(passes, 'free_memory', lambda device: 1_000_000)
    assert 'GB' in measure_passes(point(model))['refused']


def test_chart_and_table_of_both_ways(model, tmp_path, monkeypatch, capsys):
    def in_process(task):
        if 'machine' in task:
            return {'machine': {'device': 'a processor', 'threads': 1, 'load': 0.0}}
        side, way = task['point']['side'], task['point']['way']
        if side == 8 and way == 'tiles':
            return {'refused': passes.ONE_TILE}
        if side == 32 and way == 'whole':
            return {'refused': 'about 7 GB are needed'}
        return {'times': [side**2 / 100], 'memory': 1000 * side, 'tiles': 4 if way == 'tiles' else 1}

    monkeypatch.setattr(run_module, 'in_process', in_process)
    files = ['--json', str(tmp_path / 'growth.json'), '--chart', str(tmp_path / 'growth.svg')]
    benchmark.main(['--grow', '8,16,32', '--device', 'cpu', '--models', model, *files])
    rows = json.loads((tmp_path / 'growth.json').read_text())['rows']
    assert [(row['side'], row['way']) for row in rows] == [(8, 'whole'), (16, 'whole'), (16, 'tiles'), (32, 'whole'),
                                                           (32, 'tiles')]  # fmt: skip
    assert 'not measured: 32 x 32 whole: about 7 GB are needed' in capsys.readouterr().out
    assert (tmp_path / 'growth.svg').read_text().startswith('<?xml')


def test_power_of_a_straight_line_is_one():
    same = {'model': 'SST', 'scale': 2}
    rows = [
        same | {'way': 'whole', 'pixels': 100, 'latency': 1.0},
        same | {'way': 'tiles', 'pixels': 100, 'latency': 1.0},
        same | {'way': 'whole', 'pixels': 200, 'refused': 'memory'},
        same | {'way': 'whole', 'pixels': 400, 'latency': 4.0},
        same | {'way': 'tiles', 'pixels': 400, 'latency': 16.0},
    ]
    add_powers(rows)
    assert [row.get('power') for row in rows] == [None, None, None, pytest.approx(1), pytest.approx(2)]


@pytest.mark.parametrize(
    'arguments',
    [
        ['--grow', '--modes', 'fast'],
        ['--grow', '--against'],
        ['--grow', '64', '--size', '8x8'],
        ['--grow', '64', '--models', 'missing.yml', '--json', os.devnull],
        ['--grow', '64', '--models', 'SST-lite', '--json', os.devnull],
    ],
)
def test_bad_arguments_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_sides_are_whole_numbers(capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.main(['--grow', '64,large'])
    assert stop.value.code == 2
    assert "'large'" in capsys.readouterr().err
