"""When passes are replayed: with a stand-in for the recording on the CPU, and with CUDA where there is a GPU."""

import copy
import logging
import pickle

import pytest
import torch
from helpers import assert_close, tiny_options
from torch import nn

from sst.archs import SST
from sst.ops.backends import fused
from sst.ops.cuda_graphs import CudaGraphs

LIMIT = 10_000  # pixels
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


class Recorder:
    """Records a pass as CUDA does: weights are read where they lie, what was computed from them beforehand is fixed."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, function, x, pool):
        self.shapes.append(tuple(x.shape))
        return lambda x: function(x) + 100  # seen in the result: this was a replay


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def net():
    return nn.Conv2d(3, 3, 1).requires_grad_(False)


def run(graphs, net, *size, dtype=torch.float32):
    """Whether the pass was replayed."""
    x = torch.rand(1, 3, *size, dtype=dtype)
    out, expected = graphs.run(lambda x: x * 2, x, net, list), x * 2
    replayed = not torch.equal(out, expected)
    assert torch.equal(out, expected + 100 if replayed else expected)
    return replayed


def test_a_shape_is_replayed_from_its_second_pass_on(net, recorder):
    graphs = CudaGraphs(LIMIT, capture=recorder)
    assert [run(graphs, net, 4, 5) for _ in range(4)] == [False, True, True, True]
    assert [run(graphs, net, 5, 4), run(graphs, net, 4, 5), run(graphs, net, 5, 4)] == [False, True, True]
    assert recorder.shapes == [(1, 3, 4, 5), (1, 3, 5, 4)]


def test_another_dtype_is_another_graph(net, recorder):
    graphs = CudaGraphs(LIMIT, capture=recorder)
    ways = [run(graphs, net, 4, 5, dtype=dtype) for dtype in 2 * [torch.float32, torch.float64]]
    assert ways == [False, False, True, True]


def test_large_inputs_are_left_alone(net, recorder):
    graphs = CudaGraphs(20, capture=recorder)
    assert [run(graphs, net, 4, 5), run(graphs, net, 4, 5)] == [False, True]
    assert [run(graphs, net, 3, 7), run(graphs, net, 3, 7)] == [False, False]


def test_the_least_recently_used_shape_is_forgotten(net, recorder):
    graphs = CudaGraphs(LIMIT, most_shapes=2, capture=recorder)
    for width in (1, 1, 2, 2, 1, 3):  # 3 comes in place of 2
        run(graphs, net, 1, width)
    assert run(graphs, net, 1, 1)
    assert not run(graphs, net, 1, 2)


CHANGES = {
    'loaded': lambda net: net.load_state_dict(net.state_dict()),
    'assigned': lambda net: net.load_state_dict({k: v.clone() for k, v in net.state_dict().items()}, assign=True),
    'changed in place': lambda net: net.weight.mul_(2),
    'cast': lambda net: net.double(),
}


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_weights_that_change_are_noticed(net, recorder, change):
    graphs = CudaGraphs(LIMIT, capture=recorder)
    assert [run(graphs, net, 4, 5) for _ in range(3)] == [False, True, True]
    change(net)
    assert [run(graphs, net, 4, 5) for _ in range(3)] == [False, True, True]
    assert len(recorder.shapes) == 2


def test_weights_whose_changes_cannot_be_noticed_are_never_recorded(recorder):
    with torch.inference_mode():
        net = nn.Conv2d(3, 3, 1)
    graphs = CudaGraphs(LIMIT, capture=recorder)
    assert not any(run(graphs, net, 4, 5) for _ in range(3))


def test_a_failed_recording_is_logged_once_and_passes_go_on(net, caplog):
    def fail(function, x, pool):
        raise RuntimeError('operation not permitted\nwhen stream is capturing')

    graphs = CudaGraphs(LIMIT, capture=fail)
    with caplog.at_level(logging.WARNING, 'basicsr'):
        assert not any(run(graphs, net, 4, width) for width in (5, 5, 5, 6, 6))
    (record,) = caplog.records
    assert record.getMessage().endswith('operation not permitted when stream is capturing')


def test_copies_and_files_start_without_graphs(net):
    graphs = CudaGraphs(LIMIT, capture=_replay_wrongly)
    assert [run(graphs, net, 4, 5), run(graphs, net, 4, 5)] == [False, True]
    for other in (copy.deepcopy(graphs), pickle.loads(pickle.dumps(graphs))):  # noqa: S301  # our own bytes
        assert [run(other, net, 4, 5), run(other, net, 4, 5)] == [False, True]


def _replay_wrongly(function, x, pool):
    return lambda x: function(x) + 100


# ---- with a GPU


@needs_cuda
@pytest.mark.parametrize(
    'kernels', [False, pytest.param(True, marks=pytest.mark.skipif(not fused.INSTALLED, reason='no Triton'))]
)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_cuda_graphs_give_what_passes_give(mode, kernels, caplog):
    torch.manual_seed(0)
    net = SST(**tiny_options()).cuda()
    plain = copy.deepcopy(net).optimize_for_inference()
    graphed = net.optimize_for_inference(fused=kernels, graphs=LIMIT)
    pictures = [
        torch.rand(batch, 3, *size, device='cuda') for batch, size in ((1, (9, 14)), (2, (16, 12)), (1, (9, 14)))
    ]
    with mode(), caplog.at_level(logging.WARNING, 'basicsr'):
        for picture in 3 * pictures:
            assert_close(graphed(picture), plain(picture), 2e-3)
    assert not caplog.records


@needs_cuda
def test_cuda_graphs_follow_the_weights():
    net = SST(**tiny_options()).cuda()
    other = SST(**tiny_options()).cuda().optimize_for_inference()
    net.optimize_for_inference(graphs=LIMIT)
    picture = torch.rand(1, 3, 9, 14, device='cuda')
    with torch.no_grad():
        results = [net(picture) for _ in range(3)]
        net.load_state_dict(other.state_dict())
        for _ in range(3):
            assert_close(net(picture), other(picture), 1e-3)
        net.eval()  # lets the positional tables go that graphs read
        torch.cuda.empty_cache()
        assert_close(net(picture), other(picture), 1e-3)
    assert torch.equal(results[1], results[2])
    assert not torch.equal(results[0], other(picture))


@needs_cuda
def test_cuda_graphs_leave_gradients_alone():
    net = SST(**tiny_options()).cuda().optimize_for_inference(torch.float32, graphs=LIMIT)
    picture = torch.rand(1, 3, 9, 14, device='cuda')
    with torch.no_grad():
        for _ in range(2):
            net(picture)
    picture.requires_grad_()
    net(picture).sum().backward()
    assert picture.grad.abs().sum() > 0
