"""The CPU's own kernels against the reference; skipped where there is no C++ compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attention_cases import attend, compare, make_inputs, run
from helpers import assert_close, tiny_options
from hypothesis import given, settings
from hypothesis import strategies as st

from sst.archs import SST
from sst.ops import RelativeTable, UnsupportedBackendError, check_backend, window_attention
from sst.ops.native import build

pytestmark = pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))

ROOT = Path(__file__).resolve().parents[2]


def assert_agrees(leaves, window, **options):
    tiles = build.library().forward_kinds() > 3  # AMX's sums of two bfloat16 numbers are within 2^-17
    compare('native', leaves, window, 1e-5 if tiles else 3e-6, 1e-5, **options)


@pytest.mark.parametrize('size', [(8, 8), (1, 1), (7, 13), (3, 40), (33, 5)], ids=str)
@pytest.mark.parametrize('window', [1, 4, 7, 8, 12, 16, 32])
def test_agrees_with_reference_at_any_size(window, size):
    assert_agrees(make_inputs(*size, window), window)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 3), st.data())
def test_agrees_with_reference_at_drawn_sizes(height, width, window, heads, data):
    shift, batch = data.draw(st.integers(0, window - 1)), data.draw(st.integers(1, 3))
    head_dim, rank = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 40))
    leaves = make_inputs(height, width, window, heads, head_dim, rank, batch)
    assert_agrees(leaves, window, heads=heads, shift=shift)


@pytest.mark.parametrize('rank', [0, 8, 18, 24, 34, 70])
@pytest.mark.parametrize('head_dim', [5, 16, 30, 32, 48, 64])
def test_heads_and_ranks(head_dim, rank):
    assert_agrees(make_inputs(7, 11, 8, head_dim=head_dim, rank=rank), 8)


def test_a_window_of_many_blocks():
    assert_agrees(make_inputs(40, 50, 48, rank=24), 48)


def test_keys_that_outweigh_all_before_them():
    leaves = make_inputs(32, 32, 32, heads=1)
    qkv = leaves['qkv'].detach().clone()
    channels = qkv.shape[-1] // 3
    qkv[..., :channels] = qkv[..., :channels].abs() + 0.5
    qkv[:, 20:, :, channels : 2 * channels] += (
        40  # 2 to the power of what their logits are above the others is no float32
    )
    with torch.no_grad():  # logits of hundreds are rounded to 3e-5
        fast, exact = (attend(leaves | {'qkv': qkv}, 32, heads=1, backend=name) for name in ('native', 'reference'))
    assert_close(fast, exact, 1e-4)


def test_more_windows_than_a_task_takes_at_once():
    assert_agrees(make_inputs(70, 72, 1, heads=1), 1, heads=1)


def test_maps_that_are_not_contiguous_and_no_gate():
    leaves = make_inputs(9, 14, 8, gated=False)
    strided = leaves['qkv'].detach().transpose(1, 2).requires_grad_()
    assert_agrees(leaves | {'qkv': strided}, 8)


def test_logits_far_from_zero_neither_overflow_nor_vanish():
    leaves = {name: (leaf.detach() * 30).requires_grad_() for name, leaf in make_inputs(9, 14, 8).items()}
    out, gradients = run(leaves, 8, backend='native')
    expected, expected_gradients = run(leaves, 8, backend='reference')
    assert_close(out, expected, 1e-4)
    assert_close(gradients['qkv'], expected_gradients['qkv'], 1e-3)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('third', ['q', 'k', 'v'])
def test_what_is_not_finite_shows_in_the_result_and_its_gradients(third, value):
    leaves = make_inputs(8, 16, 8, gated=False)
    with torch.no_grad():
        leaves['qkv'][0, 2, 3, 32 * 'qkv'.index(third)] = value
    out, gradients = run(leaves, 8, backend='native')
    assert not out[:, :, :8].isfinite().all()
    assert out[:, :, 8:].isfinite().all()
    assert gradients['qkv'][:, :, :8].isnan().any()
    assert gradients['qkv'][:, :, 8:].isfinite().all()


def test_any_number_of_threads_gives_the_same_bits():
    leaves = make_inputs(40, 50, 8, batch=2)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 5):
        torch.set_num_threads(threads)
        try:
            out, gradients = run(leaves, 8, backend='native')
        finally:
            torch.set_num_threads(before)
        results.append((out, *(gradients[name] for name in ('qkv', 'factor_q', 'factor_k'))))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_factors_learn_where_the_map_needs_no_gradient():
    leaves = make_inputs(8, 8, 8)
    leaves['qkv'], gradients = leaves['qkv'].detach(), []
    for backend in ('native', 'reference'):
        out = attend(leaves, backend=backend)
        gradients.append(torch.autograd.grad(out.square().sum(), leaves['factor_q'])[0])
    assert_close(*gradients, 1e-5)


def test_the_operator_fulfils_what_torch_demands_of_operators():
    leaves = make_inputs(5, 6, 4, heads=1)
    arguments = (leaves['qkv'], leaves['factor_q'], leaves['factor_k'], 4, 1, 0)
    torch.library.opcheck(torch.ops.sst.native_attention, arguments)


def test_a_network_compiles_whole_for_pictures_of_any_size():
    net = SST(**tiny_options(backend='native', num_blocks=1))
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend='aot_eager')
    for height, width in ((5, 7), (9, 14)):
        image = torch.rand(1, 3, height, width)
        assert_close(compiled(image), net(image), 1e-5)


@pytest.mark.parametrize('flags', ['-mno-amx-tile', '-mno-avx512f', '-mno-avx'], ids=['AVX-512', 'AVX2', 'SSE'])
def test_narrower_processors(flags, tmp_path):
    kept = {'-mno-amx-tile': (16, 3), '-mno-avx512f': (8, 3), '-mno-avx': (4, 3)}[flags]
    own = build.library().lanes(), build.library().forward_kinds()
    if own <= kept:
        pytest.skip('this processor is no wider itself')
    code = (
        'from attention_cases import compare, make_inputs; from sst.ops.native import build\n'
        'for window, size in ((8, (7, 13)), (12, (20, 33)), (1, (3, 3))):\n'
        "    compare('native', make_inputs(*size, window, head_dim=30, rank=18), window, 3e-6, 1e-5)\n"
        'print(build.library().lanes(), build.library().forward_kinds())'
    )
    paths = os.pathsep.join(map(str, (ROOT, ROOT / 'tests')))
    environment = os.environ | {'CXX': f'g++ {flags}', 'XDG_CACHE_HOME': str(tmp_path), 'PYTHONPATH': paths}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert tuple(map(int, done.stdout.split())) == kept


# ---- the library and the choice of this backend


@pytest.fixture
def built_anew():
    """The library is looked for again, before and after."""
    build._library.cache_clear()
    yield
    build._library.cache_clear()


def test_is_compiled_once_and_kept(built_anew, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    build.library()
    (kept,) = (tmp_path / 'sst').glob('*.so')
    written = kept.stat().st_mtime_ns
    build._library.cache_clear()
    build.library()
    assert [path.stat().st_mtime_ns for path in (tmp_path / 'sst').glob('*.so')] == [written]


@pytest.mark.parametrize('kept', [0, 100, 5000])  # bytes; a library that is cut off ends the process that loads it
def test_a_damaged_library_is_compiled_anew(kept, built_anew, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    code = 'from sst.ops.native import build; build.library().lanes()'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)  # elsewhere: a file in use must not change
    (library,) = (tmp_path / 'sst').glob('*.so')
    library.write_bytes(library.read_bytes()[:kept])
    assert build.library().lanes() > 0


def test_an_empty_batch():
    out = window_attention(torch.rand(0, 5, 6, 48), 4, 1, backend='native')
    assert out.shape == (0, 5, 6, 16)


@pytest.mark.parametrize(
    ('compiler', 'reason'),
    [
        ('', r'apt install g\+\+'),
        ('   ', r'apt install g\+\+'),
        ('false', 'false'),
        ('true', 'true'),
        ('nowhere', "CXX.*'nowhere'"),
    ],
)
def test_without_a_compiler_it_says_so_and_auto_goes_on(compiler, reason, built_anew, monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('CXX', compiler)
    if not compiler.strip():
        monkeypatch.setenv('PATH', str(tmp_path))
    qkv = torch.rand(1, 4, 4, 48)
    with pytest.raises(UnsupportedBackendError, match=f'{reason}.*auto, .*sdpa, reference'):
        window_attention(qkv, 4, 1, backend='native')
    assert window_attention(qkv, 4, 1).shape == (1, 4, 4, 16)


def test_a_cache_that_cannot_be_written_is_a_reason(built_anew, monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert str(tmp_path / 'file') in (build.why_not() or '')


def test_refuses_with_all_its_reasons():
    term = RelativeTable(torch.zeros(2, 49), 4)
    with pytest.raises(UnsupportedBackendError, match=r'meta.*float16.*RelativeTable.*64.*150'):
        check_backend('native', torch.device('meta'), torch.float16, dim=300, window=4, num_heads=2, term=term)
