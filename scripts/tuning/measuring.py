"""Runs a kernel in a given configuration: is it right, how long does it take."""

import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from sst.ops import Factored, window_attention
from sst.ops.heads import crop_heads, pad_heads
from sst.ops.kernels import launch
from sst.ops.kernels.configurations import Configuration
from sst.ops.kernels.launch import Call, Gradients
from tuning.compiling import Build, Usage

# Relative L2 error against the reference, as in tests/ops/test_fused.py.
TOLERANCE = {'float16': 2e-3, 'bfloat16': 2e-2, 'float32': 1e-5}
PICTURE = (1, 360, 640)  # batch, height and width in LR pixels: an output of 1280 x 720 at x2, as in the paper
PATCHES, PATCH = 8, 96  # the published training batch
LOGITS = 2**28  # of the reference at a time, in float32
REPEATS, ROUNDS = 5, 3
NO_TIME = 'no time'  # why a candidate is out
SLOWER = 1.1  # times the fastest: those above leave the race after a round
CACHE = 2**29  # bytes, more than any GPU's: writing them empties it and takes longer than launching a kernel


@dataclass
class Trial:
    """What is known of a candidate: `excluded` says why it cannot be chosen."""

    configuration: Configuration
    usage: Usage | None = None
    error: float | None = None
    seconds: float | None = None
    excluded: str = ''


class Sample:
    """Tensors of a call of a layer's attention, drawn by chance."""

    def __init__(self, build: Build, batch: int, height: int, width: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(0)

        def draw(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.randn(*shape, generator=generator, device=device).to(dtype)

        layer, dtype = build.layer, build.torch_dtype
        channels = layer.num_heads * layer.head_dim
        self.build = build
        self.qkv = draw(batch, height, width, 3 * channels, dtype=dtype)
        self.gate = draw(batch, height, width, channels, dtype=dtype)
        self.grad = draw(batch, height, width, channels, dtype=dtype)
        shape = (layer.num_heads, layer.window**2, layer.rank)
        # of unit variance as logits, whatever the rank
        self.factors = [draw(*shape, dtype=torch.float32) * layer.rank**-0.25 for _ in range(2) if layer.rank]

    @classmethod
    def to_check(cls, build: Build, device: torch.device) -> 'Sample':
        """Windows beside each other, as many as the reference has room for, padded on both sides."""
        layer = build.layer
        count = min(max(LOGITS // (layer.num_heads * layer.window**4), 1), 3)
        padding = layer.window // 8
        return cls(build, 1, layer.window - padding, count * layer.window - padding, device)

    @classmethod
    def to_time(cls, build: Build, device: torch.device) -> 'Sample':
        """A picture for the forward kernel, a training batch for the gradients."""
        if build.kernel == 'forward':
            return cls(build, *PICTURE, device)
        side = max(PATCH // build.layer.window, 1) * build.layer.window
        return cls(build, PATCHES, side, side, device)

    def call(self) -> Call:
        layer = self.build.layer
        factor_q, factor_k = self.factors or (None, None)
        padding = layer.layout.padding
        qkv = pad_heads(self.qkv, 3 * layer.num_heads, padding)
        sizes = layer.window, layer.num_heads, 0, padding
        return Call.of(qkv, factor_q, factor_k, self.gate, *sizes, self.build.torch_dtype)

    def reference(self) -> list[Tensor]:
        """The right result, or where the kernel takes gradients, those of qkv, factors and gate."""
        layer = self.build.layer
        leaves = [tensor.requires_grad_() for tensor in (self.qkv, *self.factors, self.gate)]
        term = Factored(*self.factors) if self.factors else None
        forward = self.build.kernel == 'forward'
        with torch.set_grad_enabled(not forward):
            out = window_attention(self.qkv, layer.window, layer.num_heads, term, gate=self.gate, backend='reference')
            return [out] if forward else list(torch.autograd.grad(out, leaves, self.grad))

    @torch.no_grad()
    def computed(self, configuration: Configuration) -> list[Tensor]:
        """The same by the kernel in a configuration, with the table's for the other kernels."""
        call, kernel = self.call(), self.build.kernel
        taken = {name: call.configuration(name) for name in ('forward', 'query', 'key')} | {kernel: configuration}
        out, attended, lse = launch.forward(call, taken['forward'], differentiable=True)
        if kernel == 'forward':
            return [out]
        gradients = Gradients.of(call, self.grad, attended, lse)
        d_qkv, *others = launch.backward(call, gradients, taken['query'], taken['key'])
        layer = self.build.layer
        d_qkv = crop_heads(d_qkv, 3 * layer.num_heads, layer.layout.padding)
        return [result for result in (d_qkv, *others) if result.numel()]

    @torch.no_grad()
    def prepared(self) -> Callable[[Configuration], object]:
        """A launch of the kernel alone, all that precedes it done."""
        call, kernel = self.call(), self.build.kernel
        if kernel == 'forward':
            return lambda configuration: launch.forward(call, configuration, differentiable=True)
        _, attended, lse = launch.forward(call, call.configuration('forward'), differentiable=True)
        gradients = Gradients.of(call, self.grad, attended, lse)
        # The kernel 'query' writes what the kernel 'key' reads.
        launch.factor_gradients(call, gradients, 'query', call.configuration('query'))
        return lambda configuration: launch.factor_gradients(call, gradients, kernel, configuration)


def relative_error(results: list[Tensor], expected: list[Tensor]) -> float:
    """The largest relative L2 error of any tensor, nan where one is."""
    errors = [
        (result.double() - right.double()).norm() / right.double().norm().clamp_min(1e-12)
        for result, right in zip(results, expected, strict=True)
    ]
    return torch.stack(errors).max().item()


class Stopwatch:
    """Seconds on a GPU, the median of several calls, each with an empty cache."""

    def __init__(self, device: torch.device) -> None:
        self.cache = torch.empty(CACHE, dtype=torch.int8, device=device)

    def __call__(self, call: Callable[[], object]) -> float:
        call()  # loads the kernel
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(REPEATS)]
        for start, end in events:
            self.cache.zero_()
            start.record()
            call()
            end.record()
        torch.cuda.synchronize(self.cache.device)
        return median(start.elapsed_time(end) for start, end in events) / 1000


def check(
    trials: list[Trial],
    error: Callable[[Configuration], float],
    tolerance: float,
    deadline: float,
    advance: Callable[[], object],
) -> None:
    """Exclude those whose results are wrong, that fail or that there was no time to check."""
    for trial in trials:
        advance()
        if time.monotonic() >= deadline:
            trial.excluded = NO_TIME
            continue
        try:
            trial.error = error(trial.configuration)
        except Exception as fault:  # whatever it is, it is this candidate's
            trial.excluded = f'failed: {fault}'
        else:
            trial.excluded = '' if trial.error <= tolerance else 'WRONG'


def race(
    trials: list[Trial],
    seconds: Callable[[Configuration], float],
    present: Configuration,
    deadline: float,
    rng: random.Random,
) -> None:
    """Time all in random order, again and again without those left behind; `seconds` becomes each one's median.

    The table's, `present`, stays to the end: it is what the others are compared with.
    """
    running, times = list(trials), defaultdict(list)
    for _ in range(ROUNDS):
        rng.shuffle(running)
        for trial in running:
            if time.monotonic() >= deadline:
                return
            try:
                times[trial.configuration].append(seconds(trial.configuration))
            except Exception as fault:  # whatever it is, it is this candidate's
                trial.excluded = f'failed: {fault}'
            else:
                trial.seconds = median(times[trial.configuration])
        running = [trial for trial in running if not trial.excluded]
        limit = SLOWER * min((trial.seconds for trial in running if trial.seconds), default=0.0)
        running = [trial for trial in running if trial.configuration == present or (trial.seconds or 0.0) <= limit]
