"""CUDA graphs of a network: a graph launches all kernels of a pass at once, which helps small inputs."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from sst.ops.weight_state import WeightState

logger = logging.getLogger('basicsr')

MOST_SHAPES = 16  # an image in tiles has up to nine shapes
WARM_UP = 2  # passes before recording: kernels are built, and libraries allocate their memory

Pass = Callable[[Tensor], Tensor]
Capture = Callable[[Pass, Tensor, Any], Pass]


def can_be_graphed(x: Tensor) -> bool:
    """Whether a graph can replay a pass of `x`: on CUDA, without gradients, autocast, compilation or recording."""
    return (
        x.is_cuda
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cuda')
        and not torch.compiler.is_compiling()
        and not torch.cuda.is_current_stream_capturing()
    )


@cache
def recording_stream(device: int) -> torch.cuda.Stream:
    """The stream on which all graphs of a device are recorded: libraries keep a workspace for each stream."""
    return torch.cuda.Stream(device)


def capture_graph(function: Pass, x: Tensor, pool: Any) -> Pass:
    """Record `function(x)`; the result replays it, for tensors like `x`, on the current stream.

    Args:
        function (Callable): a pass that never waits for the CPU and does not change what it reads.
        x (Tensor): on CUDA.
        pool: of `torch.cuda.graph_pool_handle()`; graphs that share it must not run at the same time.

    Raises:
        RuntimeError: it cannot be recorded.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(x.device):
        static_in = torch.empty_like(x, memory_format=torch.contiguous_format).copy_(x)
        current, side = torch.cuda.current_stream(), recording_stream(torch.cuda.current_device())
        side.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):  # around the recording too, so that the current stream returns if it fails
            for _ in range(WARM_UP):
                function(static_in)
            # 'thread_local': other threads, which load images, do not disturb the recording
            with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode='thread_local'):
                static_out = function(static_in)
        current.wait_stream(side)

    def replay(x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            static_in.copy_(x)
        graph.replay()
        return static_out.clone()  # the next replay of any graph of the pool overwrites it

    return replay


class CudaGraphs:
    """Replays passes of known shapes. The first pass of a shape runs normally, because many shapes never come again.

    If there are too many shapes, the least recently used one is forgotten. All graphs share one pool of memory, so only
    one stream at a time may use them. All graphs are recorded again when a weight was changed, loaded, moved or cast,
    except by writing into `weight.data` in place. If recording fails, the reason is logged and all later passes run
    normally.

    Args:
        most_pixels (int): B * H * W of the largest input that is recorded; larger ones gain nothing.
        most_shapes (int): shapes remembered at a time.
        capture (Callable): records a pass, as `capture_graph` does.
    """

    def __init__(self, most_pixels: int, most_shapes: int = MOST_SHAPES, capture: Capture = capture_graph) -> None:
        self.most_pixels = most_pixels
        self.most_shapes = most_shapes
        self.capture = capture
        self._passes: OrderedDict[tuple, tuple[Pass, object] | None] = OrderedDict()  # None: seen once
        self._owners: list[dict[str, Any]] = []
        self._weights: WeightState | None = None
        self._pool: Any = None

    def __reduce__(self) -> tuple:
        return CudaGraphs, (self.most_pixels, self.most_shapes, self.capture)  # copies start without graphs

    def run(self, function: Pass, x: Tensor, net: nn.Module, tables: Callable[[], object]) -> Tensor:
        """`function(x)`, replayed where possible.

        Args:
            function (Callable): a pass of `net`.
            x (Tensor): (B, C, H, W), for which `can_be_graphed` holds.
            net (nn.Module): the network whose weights the pass reads.
            tables (Callable): returns what else the pass reads; it is kept alive as long as the graph.
        """
        if x.numel() > self.most_pixels * x.shape[1]:
            return function(x)
        if self._weights is None or not self._weights.holds(self._tensors()):
            self._passes.clear()
            # Looking at the dictionaries of the modules is much faster than `parameters()` in every pass.
            self._owners = [owned for module in net.modules() for owned in (module._parameters, module._buffers)]
            self._weights, self._pool = WeightState(self._tensors()), None
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
            reason = ' '.join(str(fault).split())[:300] or type(fault).__name__
            logger.warning(f'CUDA graphs are switched off, because recording failed: {reason}')
            self.most_pixels = 0
            self._passes.clear()
            return None

    def _tensors(self) -> list[Tensor]:
        return [weight for weight in chain.from_iterable(o.values() for o in self._owners) if weight is not None]
