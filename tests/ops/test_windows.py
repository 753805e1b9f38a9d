import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sst.ops.windows import fold_padding, merge, pad_to_multiple, partition, reflected_index


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
