import json
import sys
from dataclasses import asdict

import pytest
import torch

from benchmarking import run as run_module
from benchmarking.measure import export, measure
from benchmarking.rows import Row, Workload, obstacle, plan
from benchmarking.run import add_ratios, add_speeds, combined, in_process, run
from sst.ops import pointwise
from sst.ops.backends.fused import INSTALLED
from sst.ops.backends.sdpa import SDPA


def row(model, **changes):
    size = {'batch': 1, 'height': 12, 'width': 20, 'device': 'cpu', 'repeats': 2, 'seconds': 5.0}
    way = {'mode': 'fast', 'backend': 'auto', 'dtype': 'float32', 'task': 'inference'}
    return Row(**{'model': model, 'scale': 2, **way, **size, **changes})


@pytest.mark.parametrize('task', ['inference', 'training'])
@pytest.mark.parametrize(
    ('mode', 'dtype', 'limit'), [('fast', 'float32', 1e-5), ('fast', 'bfloat16', 1e-1), ('published', 'float32', 1e-5)]
)
def test_every_way_is_timed_and_right(model, task, mode, dtype, limit):
    answer = measure(row(model, task=task, mode=mode, dtype=dtype))
    assert len(answer['times']) == 2
    assert min(answer['times']) > 0
    assert 0 <= answer['error'] < limit
    assert not answer['wrong']


@pytest.mark.skipif(not INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize('task', ['inference', 'training'])
def test_fused_layers_in_the_interpreter(model, task, monkeypatch):
    calls = []
    kernel = pointwise.fused_depthwise_gelu_add
    monkeypatch.setattr(pointwise, 'fused_depthwise_gelu_add', lambda *maps: calls.append(None) or kernel(*maps))
    chosen = row(model, mode='fused', task=task)
    assert obstacle(chosen) is None
    assert 0 < measure(chosen)['error'] < 1e-5
    assert calls


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('mode', ['graphed', 'fused+graphed'])
def test_cuda_graphs(model, mode):
    assert not measure(row(model, mode=mode, device='cuda', dtype='float16'))['wrong']


def test_onnx_runtime_is_timed_and_right(model, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    onnx = row(model, mode='onnx', backend='')
    export(onnx, tmp_path / 'model.onnx')
    answer = measure(onnx, tmp_path / 'model.onnx')
    assert len(answer['times']) == 2
    assert 0 < answer['error'] < 1e-5


def test_rivals_are_timed(model):
    for task in ('inference', 'training'):
        answer = measure(row('ELAN-light', backend='', task=task))
        assert answer.keys() == {'times', 'memory'}
        assert len(answer['times']) == 2


def test_onnx_runtime_is_refused_where_it_cannot_run(model, monkeypatch):
    assert 'inference' in obstacle(row(model, mode='onnx', backend='', task='training'))
    assert '--device cpu' in obstacle(row(model, mode='onnx', backend='', device='cuda'))
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert 'sst-sr[onnx]' in obstacle(row(model, mode='onnx', backend=''))


def test_modes_of_inference_are_refused_elsewhere(model):
    answer = obstacle(row(model, mode='fused+graphed', task='training'))
    assert answer == 'mode fused+graphed is for inference; take --tasks inference'
    assert 'CUDA graphs need a CUDA device' in obstacle(row(model, mode='graphed'))


def test_a_backend_that_errs_is_found(model, monkeypatch):
    monkeypatch.setattr(SDPA, 'attend', lambda self, q, k, v, inputs: v)
    assert measure(row(model, backend='sdpa'))['wrong']
    assert measure(row(model, backend='sdpa', task='training'))['wrong']


def test_process_of_its_own(model):
    answer = in_process({'row': asdict(row(model))})
    assert len(answer['times']) == 2
    assert answer['memory'] > 0
    assert answer['attention'] in ('native on cpu in float32', 'sdpa on cpu in float32')


def test_threads_of_a_process():
    assert in_process({'machine': 'cpu', 'threads': 2})['machine']['threads'] == 2


def test_onnx_rows_get_their_model_once_and_its_failure_is_theirs(model, monkeypatch):
    tasks = []

    def in_process(task):
        tasks.append(task)
        if 'machine' in task:
            return {'machine': {}, 'ceilings': asdict(run_module.Ceilings(1e11, 1e10, 1e9, 4))}
        return {} if task.get('export') else answer([1.0])

    monkeypatch.setattr(run_module, 'in_process', in_process)
    monkeypatch.setattr(run_module, 'obstacle', lambda row: None)
    onnx = row(model, mode='onnx', backend='')
    assert run([onnx], 'cpu', rounds=2)['rows'][0]['times'] == [[1.0], [1.0]]
    assert [task.get('export', False) for task in tasks] == [False, True, False, False]
    assert len({task['model'] for task in tasks[1:]}) == 1
    monkeypatch.setattr(run_module, 'in_process', lambda task: {'failed': 'no'} if 'row' in task else in_process(task))
    assert run([onnx], 'cpu', rounds=2)['rows'][0]['failed'] == 'no'


def test_failure_is_the_last_line_of_the_process():
    assert 'no such file' in in_process({'row': asdict(row('missing.yml'))})['failed']


def test_backend_that_cannot_serve_is_a_row_with_its_reason(model, monkeypatch):
    monkeypatch.setattr(run_module, 'in_process', run_module.work)
    monkeypatch.setattr(run_module, 'measure_ceilings', lambda device: run_module.Ceilings(1e11, 1e10, 1e9, 4))
    outcome = run([row(model), row(model, backend='flash'), row(model, mode='published')], 'cpu', rounds=2)
    fast, flash, published = outcome['rows']
    assert 'CUDA' in flash['refused']
    assert [len(part) for part in fast['times']] == [2, 2]
    assert fast['floor'] > 0
    assert fast['speed'] > 0
    assert published['speed'] == 1
    assert fast['multiply_adds'] < fast['multiply_adds_as_published']
    json.dumps(outcome)


def test_ctrl_c_keeps_what_is_measured(model, monkeypatch):
    answers = iter([{'machine': {}, 'ceilings': asdict(run_module.Ceilings(1e11, 1e10, 1e9, 4))}, answer([1.0])])

    def next_answer(task):
        try:
            return next(answers)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(run_module, 'in_process', next_answer)
    outcome = run([row(model), row(model, mode='published')], 'cpu', rounds=2)
    assert outcome['interrupted']
    assert outcome['rows'][0]['latency'] == 1
    assert 'interrupted' in outcome['rows'][1]['refused']


def answer(times):
    return {'times': times, 'memory': 10, 'error': 0.0, 'wrong': False, 'attention': 'sdpa'}


def test_medians_of_processes_and_speeds_within_a_round():
    slow = combined([answer([2.0, 4.0, 2.0]), answer([20.0, 20.0, 20.0])])  # the second round met other work
    quick = combined([answer([1.0, 1.0, 9.0]), answer([10.0, 10.0, 10.0])])
    results = [
        {'model': 'SST', 'scale': 2, 'task': 'inference', 'mode': mode, **times}
        for mode, times in (('fast', quick), ('published', slow))
    ]
    add_speeds(results)
    assert quick['latency'] == 5.5
    assert [result['speed'] for result in results] == [2, 1]


def test_ratios_are_within_one_input():
    same = {'scale': 2, 'task': 'inference', 'batch': 1, 'height': 8, 'mode': 'fast'}
    results = [
        same | {'model': 'HAT', 'width': 8, 'times': [[9.0]]},  # before any SST
        same | {'model': 'SST', 'width': 8, 'times': [[2.0], [4.0]]},
        same | {'model': 'HAT', 'width': 8, 'times': [[4.0], [12.0]]},
        same | {'model': 'HAT', 'width': 9, 'times': [[4.0], [12.0]]},
        same | {'model': 'HAT', 'width': 8, 'refused': 'memory'},
    ]
    add_ratios(results)
    assert [result['against'] for result in results] == ['HAT', 'SST', 'SST', 'SST', 'SST']
    assert [result.get('ratio') for result in results] == [None, 1, 2.5, None, None]


def test_a_rival_has_one_way():
    rows = plan(
        ['HAT'],
        [2],
        ['onnx', 'published'],
        ['sdpa', 'native'],
        ['auto', 'float32'],
        ['inference'],
        Workload((16, 16), 8),
        device='cpu',
        repeats=1,
        seconds=1.0,
    )
    assert [(row.mode, row.backend, row.dtype) for row in rows] == [('fast', '', 'float32')]


def test_plan():
    rows = plan(
        ['SST-light', 'SST-light+'],
        [3],
        ['fast', 'published'],
        ['auto', 'sdpa'],
        ['auto'],
        ['inference', 'training'],
        Workload((1280, 720), 8),
        device='cuda',
        repeats=1,
        seconds=1.0,
    )
    light = [row for row in rows if row.model == 'SST-light']
    assert len(light) == len(rows) / 2 == 6  # two backends and the published style, which has one
    assert {(row.batch, row.height, row.width, row.dtype) for row in light if row.mode == 'fast'} == {
        (1, 240, 427, 'float16'),
        (8, 64, 64, 'bfloat16'),
    }
    assert {(row.height, row.dtype) for row in rows if row.model == 'SST-light+' and row.training} == {
        (96, 'bfloat16'),
        (96, 'float32'),
    }
