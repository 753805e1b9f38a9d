"""`auto` takes the fused kernels where a check on the machine found them right and not slower."""

import json
import logging
from contextlib import contextmanager

import pytest
import torch
from helpers import assert_close, tiny_options

from sst.archs import SST
from sst.archs.kernel_choice import fused_layers_are_better
from sst.ops import fused_check, pointwise, verdicts
from sst.ops.attention import select_backend
from sst.ops.backends import BACKENDS, fused
from sst.ops.fused_check import decide, worst_error
from sst.ops.verdicts import Case

pytestmark = [
    pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed'),
    pytest.mark.usefixtures('clean'),
]
CPU = torch.device('cpu')
SMALL = Case(torch.float32, torch.float32, 4, 2, 6, 3, True, False)
CASES = {
    'inference': SMALL,
    'training': Case(torch.float32, torch.float32, 4, 2, 6, 3, True, True),
    'no term, no gate': Case(torch.float32, torch.float32, 4, 2, 6, 0, False, True),
    'half': Case(torch.float16, torch.float16, 8, 2, 16, 16, True, True),
    'float32 maps, attention in half': Case(torch.float32, torch.float16, 4, 2, 8, 3, True, False),
}


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No verdicts of before, and a cache of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('SST_FUSED', raising=False)
    verdicts.forget()
    yield
    verdicts.forget()


def fused_is(seconds):
    """A clock for which the fused kernels take so long, and the other backend one second."""
    answers = iter([seconds, 1.0] * 99)
    return lambda work, device: next(answers)


def taken(case=SMALL):
    return verdicts.taken(CPU, *vars(case).values())


@contextmanager
def broken(monkeypatch, change):
    """Kernels whose results are changed."""
    original = fused.Fused.__call__
    with monkeypatch.context() as patch:
        patch.setattr(fused.Fused, '__call__', lambda self, inputs: change(original(self, inputs)))
        yield


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_right_kernels_are_found_right(case):
    assert worst_error(case, CPU) < fused_check.LIMITS[case.dtype]


@pytest.mark.parametrize('case', [SMALL, CASES['training']], ids=['inference', 'training'])
def test_a_fault_of_one_pixel_is_found(case, monkeypatch):
    def change(out):
        wrong = torch.zeros_like(out)
        wrong[:, -1, -1] = 0.1  # a pixel of the corner, whose window needs padding
        return out + wrong

    with broken(monkeypatch, change):
        assert worst_error(case, CPU) > 1e-3


def test_wrong_gradients_are_found(monkeypatch):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 1.01

    with broken(monkeypatch, Wrong.apply):
        assert worst_error(SMALL, CPU) < 1e-5
        assert worst_error(CASES['training'], CPU) > 5e-3


@pytest.mark.parametrize(('seconds', 'expected'), [(0.5, True), (1.01, True), (1.5, False)])
def test_right_kernels_are_taken_where_they_are_not_slower(seconds, expected, caplog):
    caplog.set_level(logging.INFO, logger='basicsr')
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(seconds))
    assert taken() == expected
    assert (SMALL.name in caplog.text) == (not expected)


def test_wrong_kernels_are_not_taken_however_fast(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger='basicsr')
    with broken(monkeypatch, lambda out: out * 1.001):
        decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert not taken()
    assert 'error' in caplog.text


def test_a_compiler_that_fails_is_told_once(monkeypatch, caplog):
    def fail(self, inputs):
        raise RuntimeError('ptxas died\nand said more')

    caplog.set_level(logging.INFO, logger='basicsr')
    monkeypatch.setattr(fused.Fused, '__call__', fail)
    for _ in range(2):
        decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert not taken()
    assert caplog.text.count('ptxas died') == 1


def test_lack_of_memory_is_not_kept(monkeypatch):
    def fail(self, inputs):
        raise torch.OutOfMemoryError('out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(fused.Fused, '__call__', fail)
        decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert not taken()
    verdicts.forget()
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert taken()


def test_verdicts_are_kept_for_the_next_process(monkeypatch):
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.5))
    verdicts.forget()

    def fail(*_):
        raise AssertionError('was checked before')

    monkeypatch.setattr(fused_check, 'examine', fail)
    decide([SMALL], CPU, (8, 8))
    assert taken()
    other = Case(*[*vars(SMALL).values()][:2], 8, 2, 6, 3, True, False)
    with pytest.raises(AssertionError):
        decide([other], CPU, (8, 8))


@pytest.mark.parametrize('stale', ['another machine', 'damaged', 'of another form', 'a folder'])
def test_a_cache_that_is_stale_or_damaged_is_not_trusted(stale, monkeypatch, tmp_path):
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.5))
    verdicts.forget()
    file = tmp_path / 'sst/fused_checks.json'
    kept = json.loads(file.read_text())
    ((machine, found),) = kept.items()
    if stale == 'another machine':
        file.write_text(json.dumps({machine + ' of before': found}))
    elif stale == 'damaged':
        file.write_text(file.read_text()[:-5])
    elif stale == 'of another form':
        file.write_text(json.dumps({machine: {SMALL.name: 'yes'}}))
    else:
        file.unlink()
        file.mkdir()
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(5))
    assert not taken()


def test_other_machines_keep_their_verdicts(tmp_path):
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.5))
    file = tmp_path / 'sst/fused_checks.json'
    kept = json.loads(file.read_text())
    ((machine, found),) = kept.items()
    file.write_text(json.dumps({'other': found}))
    decide([CASES['no term, no gate']], CPU, (8, 8), seconds_of=fused_is(0.5))
    assert set(json.loads(file.read_text())) == {'other', machine}


def test_the_environment_switches_them_off(monkeypatch):
    monkeypatch.setenv('SST_FUSED', '0')
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert not taken()
    monkeypatch.delenv('SST_FUSED')
    verdicts.forget()
    decide([SMALL], CPU, (8, 8), seconds_of=fused_is(0.1))
    assert taken()


def test_processes_take_what_all_of_them_can():
    others = {SMALL: False, CASES['no term, no gate']: True}
    decide(
        others,
        CPU,
        (8, 8),
        seconds_of=fused_is(0.1),
        agree=lambda mine: [own and other for own, other in zip(mine, others.values(), strict=True)],
    )
    assert not taken()
    assert taken(CASES['no term, no gate'])


def test_the_check_draws_no_random_number_of_the_run():
    before = torch.get_rng_state()
    decide([SMALL], CPU, (8, 8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('gradients', [False, True], ids=['inference', 'training'])
def test_a_network_takes_what_was_decided(gradients, monkeypatch):
    monkeypatch.setattr(fused_check, 'median_seconds', fused_is(0.1))
    net = SST(**tiny_options(num_blocks=1, bias={'type': 'RIB', 'ranks': [2, 4], 'hidden': 8, 'bands': 4}))
    net.train(gradients).requires_grad_(gradients)
    used = []
    original = fused.Fused.__call__
    monkeypatch.setattr(fused.Fused, '__call__', lambda self, inputs: used.append(inputs) or original(self, inputs))
    lr = torch.rand(1, 3, 7, 9)
    expected = net(lr)
    assert not used
    net.choose_kernels((8, 8), gradients=gradients)
    used.clear()
    assert_close(net(lr), expected, 1e-5)
    assert len(used) == 2  # both layers
    used.clear()
    net.requires_grad_(not gradients)  # which was not decided
    net(lr)
    assert not used


@pytest.mark.parametrize(
    'changes', [{'bias': {'type': 'RPB'}}, {'bias': {'type': 'RoPE'}}, {'backend': 'sdpa'}], ids=str
)
def test_only_what_it_can_compute_is_checked(changes, monkeypatch):
    monkeypatch.setattr(fused_check, 'examine', lambda *_: pytest.fail('was checked'))
    SST(**tiny_options(num_blocks=1, **changes)).choose_kernels((8, 8))


def test_the_other_backend_is_the_one_that_auto_would_take(monkeypatch):
    timed = []
    monkeypatch.setattr(
        fused_check, '_work', lambda backend, inputs, case: timed.append((backend.name, inputs)) or (lambda: None)
    )
    decide([SMALL], CPU, (8, 8))
    (ours, _), (theirs, inputs) = timed
    assert ours == 'fused'
    assert inputs.qkv.shape == (1, 8, 8, 36)
    verdicts.forget()
    assert theirs == select_backend('auto', inputs).name != 'fused'
    assert theirs in BACKENDS


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize('gate', ['CLA', 'pointwise', 'none'])
def test_layers_are_judged_by_the_same_rules(gate, dtype, monkeypatch, tmp_path):
    layer = SST(**tiny_options(num_blocks=1, gate=gate)).eval().requires_grad_(False).to(dtype).blocks[0].layers[0]

    def better(seconds):
        return fused_layers_are_better(layer, dtype, CPU, (8, 8), fused_is(seconds))

    assert better(0.5)
    assert better(5)  # it is kept
    (tmp_path / 'sst/fused_checks.json').unlink()
    assert not better(5)
    (tmp_path / 'sst/fused_checks.json').unlink()
    original = pointwise.fused_norm_linear
    monkeypatch.setattr(pointwise, 'fused_norm_linear', lambda *arguments: original(*arguments) * 1.01)
    assert not better(0.5)  # they are wrong
    assert not any(part.fused for part in layer.modules() if hasattr(part, 'fused'))  # the layer stays as it was


def test_layers_on_a_cpu_are_torchs_unless_asked_for():
    net = SST(**tiny_options(num_blocks=1)).optimize_for_inference()
    assert not any(part.fused for part in net.modules() if hasattr(part, 'fused'))
    net = SST(**tiny_options(num_blocks=1)).optimize_for_inference(fused=True)
    assert all(part.fused for part in net.modules() if hasattr(part, 'fused'))
