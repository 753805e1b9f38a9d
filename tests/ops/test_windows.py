import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sst.ops import Factored, window_attention
from sst.ops.backends import fused, native
from sst.ops.windows import fold_padding, merge, pad_to_multiple, partition, reflected_index, shown_pixels


@given(st.integers(2, 40), st.data())
def test_reflection_equals_torch_where_torch_can(size, data):
    target = data.draw(st.integers(size, 2 * size - 1))
    axis = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)
    expected = F.pad(axis, (0, target - size), mode='reflect').flatten()
    assert torch.equal(reflected_index(size, target).float(), expected)


def test_reflection_goes_on_periodically():
    assert reflected_index(3, 11).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]


def test_one_pixel_repeats_itself():
    assert reflected_index(1, 5).tolist() == [0] * 5


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9))
def test_padding_keeps_the_map_and_reaches_a_multiple(height, width, window):
    x = torch.rand(2, height, width, 3)
    padded = pad_to_multiple(x, window)
    assert padded.shape[1] % window == padded.shape[2] % window == 0
    assert padded.shape[1] - height < window
    assert torch.equal(padded[:, :height, :width], x)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_merge_inverts_partition(batch, rows, columns, window):
    x = torch.rand(batch, rows * window, columns * window, 2)
    windows = partition(x, window)
    assert windows.shape == (batch * rows * columns, window * window, 2)
    assert torch.equal(merge(windows, window, *x.shape[1:3]), x)


def test_tokens_are_numbered_row_by_row():
    x = torch.arange(4 * 6).reshape(1, 4, 6, 1)
    assert partition(x, 2)[1].flatten().tolist() == [2, 3, 8, 9]


@pytest.mark.parametrize('shape', [(1, 5, 7, 2), (1, 1, 9, 2)], ids=str)
def test_gradients_reach_every_reflected_source(shape):
    x = torch.rand(shape, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: pad_to_multiple(t, 4), x)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 7))
def test_folding_is_the_gradient_of_padding(height, width, window):
    x = torch.rand(2, height, width, 3, dtype=torch.double, requires_grad=True)
    padded = pad_to_multiple(x, window)
    weight = torch.rand_like(padded)
    (expected,) = torch.autograd.grad((padded * weight).sum(), x)
    assert torch.allclose(fold_padding(weight, height, width), expected)


@pytest.mark.parametrize('backend', ['reference', 'sdpa', 'native', 'fused'])
@pytest.mark.parametrize('shift', [0, 1, 3])
@pytest.mark.parametrize(('height', 'width'), [(1, 1), (2, 3), (5, 7), (8, 4), (13, 1)])
def test_every_backend_lays_windows_as_described(backend, height, width, shift):
    window, channels = 4, 16
    if (backend == 'fused' and not fused.INSTALLED) or (backend == 'native' and native.why_not()):
        pytest.skip('cannot be built here')
    pixels = torch.arange(height * width).float()
    values = pixels.reshape(1, height, width, 1).expand(-1, -1, -1, channels)
    qkv = torch.cat((torch.zeros_like(values), torch.zeros_like(values), values), dim=-1)
    (rows, y), (columns, x) = shown_pixels(height, window, shift), shown_pixels(width, window, shift)
    shown = rows[:, None] * width + columns  # pixels on the padded and shifted map
    corner_y, corner_x = (torch.arange(len(axis)) // window * window for axis in (rows, columns))
    for token in (0, 6, 15):  # all tokens of a window attend to this one alone
        chosen = torch.zeros(1, window**2, 1)
        chosen[0, token] = 1e4
        term = Factored(torch.ones_like(chosen), chosen)
        out = window_attention(qkv, window, 1, term, shift=shift, backend=backend)
        attended = shown[corner_y + token // window][:, corner_x + token % window]
        expected = torch.zeros(len(rows), len(columns), dtype=torch.int64)
        expected[y[:, None], x] = attended  # rolled back
        assert torch.equal(out[0, :, :, 0].round().long(), expected[:height, :width])
