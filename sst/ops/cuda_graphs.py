"""A network's passes as CUDA graphs: the kernels' launches, which small inputs wait for, are recorded once a shape."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger('basicsr')

MOST_SHAPES = 16  # one picture in tiles has nine
WARM_UP = 2  # passes before a capture: kernels are built and libraries take their memory

Pass = Callable[[Tensor], Tensor]
Capture = Callable[[Pass, Tensor, Any], Pass]


def can_be_graphed(x: Tensor) -> bool:
    """Whether a pass of `x` is one that a graph could replay: on CUDA, nothing else looking on."""
    return (
        x.is_cuda
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cuda')
        and not torch.compiler.is_compiling()
        and not torch.cuda.is_current_stream_capturing()
    )


def capture_graph(function: Pass, x: Tensor, pool: Any) -> Pass:
    """Record `function(x)`; the result replays it, for tensors like `x`, on the current stream.

    Args:
        function (Callable): a pass without synchronisation with the CPU; it must not change what it reads.
        x (Tensor): on CUDA.
        pool: of `torch.cuda.graph_pool_handle()`; graphs that share it must not run at the same time.

    Raises:
        RuntimeError: it cannot be recorded.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(x.device):
        static_in = torch.empty_like(x, memory_format=torch.contiguous_format).copy_(x)
        callers, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(callers)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):  # around the recording too: where that fails, the caller's stream comes back
            for _ in range(WARM_UP):
                function(static_in)
            # 'thread_local': what other threads do meanwhile, loading pictures, is no part of it
            with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode='thread_local'):
                static_out = function(static_in)
        callers.wait_stream(side)

    def replay(x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            static_in.copy_(x)
        graph.replay()
        return static_out.clone()  # the next replay overwrites it, and any graph of the pool may

    return replay


class CudaGraphs:
    """Replays passes whose shape came before; the first of a shape runs as it is, for many shapes never come again.

    The least recently used shape is forgotten where there are too many. All graphs share one pool of memory, so they
    are for one stream at a time. They read weights where these lie: where one was changed, loaded, moved or cast, all
    graphs are recorded anew. Only writing into `weight.data` in place goes unnoticed, as by the positional tables.
    Where recording fails, the reason is logged and every later pass runs as it is.

    Args:
        most_pixels (int): B * H * W of the largest input that is recorded; the launches of larger ones cost nothing.
        most_shapes (int): remembered at a time.
        capture (Callable): records a pass, `capture_graph`.
    """

    def __init__(self, most_pixels: int, *, most_shapes: int = MOST_SHAPES, capture: Capture = capture_graph) -> None:
        self.most_pixels = most_pixels
        self.most_shapes = most_shapes
        self.capture = capture
        self._passes: OrderedDict[tuple, tuple[Pass, object] | None] = OrderedDict()  # None: seen once
        self._weights: _Weights | None = None
        self._pool: Any = None

    def __reduce__(self) -> tuple:
        return _again, (self.most_pixels, self.most_shapes, self.capture)  # a copy or a file starts without graphs

    def run(self, function: Pass, x: Tensor, net: nn.Module, tables: Callable[[], object]) -> Tensor:
        """`function(x)`, replayed where possible.

        Args:
            function (Callable): a pass of `net`.
            x (Tensor): (B, C, H, W), for which `can_be_graphed` holds.
            net (nn.Module): whose weights the pass reads.
            tables (Callable): what else it reads and others might let go, to be kept as long as its graph.
        """
        if x.numel() > self.most_pixels * x.shape[1]:
            return function(x)
        if self._weights is None or self._weights.changed():
            self._passes.clear()
            self._weights, self._pool = _Weights(net), None
        key = (x.shape, x.dtype, x.device)
        known = key in self._passes
        recorded = self._passes.pop(key, None)
        if known and recorded is None:
            recorded = self._record(function, x, tables)
        self._passes[key] = recorded  # the most recently used
        if len(self._passes) > self.most_shapes:
            self._passes.popitem(last=False)
        return recorded[0](x) if recorded else function(x)

    def _record(self, function: Pass, x: Tensor, tables: Callable[[], object]) -> tuple[Pass, object] | None:
        try:
            if self._pool is None and x.is_cuda:
                self._pool = torch.cuda.graph_pool_handle()
            return self.capture(function, x, self._pool), tables()
        except RuntimeError as fault:
            logger.warning(f'CUDA graphs are given up, passes run one kernel after the other: {_line(fault)}')
            self.most_pixels = 0
            self._passes.clear()
            return None


def _again(most_pixels: int, most_shapes: int, capture: Capture) -> CudaGraphs:
    return CudaGraphs(most_pixels, most_shapes=most_shapes, capture=capture)


def _line(fault: Exception) -> str:
    return ' '.join(str(fault).split())[:300] or type(fault).__name__


class _Weights:
    """Where a network's weights and buffers lie, and their versions. They are kept, so that no other can lie there."""

    def __init__(self, net: nn.Module) -> None:
        self._owners = [owned for module in net.modules() for owned in (module._parameters, module._buffers)]
        self._kept = [weight.detach() for weight in self._all()]
        self._state = self._look()

    def changed(self) -> bool:
        return self._look() != self._state

    def _all(self) -> list[Tensor]:
        return [weight for weight in chain.from_iterable(o.values() for o in self._owners) if weight is not None]

    def _look(self) -> list[tuple[int, object]]:
        # Weights made in inference mode count no versions: those are taken as changed always.
        return [(w.data_ptr(), object() if w.is_inference() else w._version) for w in self._all()]
