"""Compiles the kernels of attention and of ConvFFN for GPUs that need not be there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sst.ops.kernels.configurations import KERNELS, Configuration, find_configuration
from sst.ops.kernels.geometry import Geometry
from sst.ops.kernels.layout import Layout, worthwhile_padding
from sst.ops.kernels.pointwise_op import DepthwiseBlocks, LinearBlocks, channel_tiles
from sst.options import load_options
from sst.utils.optional import require
from tuning.machine_code import Loop, inner_loop, registers_and_stack

DTYPES = {'float16': 'fp16', 'bfloat16': 'bf16', 'float32': 'fp32'}  # torch's and Triton's names
INTEGERS = ('height', 'width', 'rows', 'columns', 'windows', 'share')
FACTORS = ('factor_q', 'factor_k')  # in the dtype of the matrix products
LAUNCH = ('num_warps', 'num_stages', 'enable_fp_fusion')
POINTWISE = ('linear', 'depthwise', 'depthwise_slope', 'depthwise_gradient')  # `KERNELS` are those of attention
IN_FLOAT32 = ('lse', 'delta', 'd_factor', 'shares')  # whatever the dtype of the others


@dataclass(frozen=True, order=True)
class Layer:
    """What of an attention layer the kernels are compiled for."""

    head_dim: int
    rank: int
    window: int
    num_heads: int

    @property
    def layout(self) -> Layout:
        return Layout(self.head_dim, self.rank, worthwhile_padding(self.head_dim))

    def cells(self) -> tuple[str, ...]:
        return tuple(map(str, (self.head_dim, self.rank, self.window, self.num_heads)))


@dataclass(frozen=True, order=True)
class Widths:
    """What of a ConvFFN the pointwise kernels are compiled for."""

    dim: int
    hidden: int

    def cells(self) -> tuple[str, ...]:
        return f'{self.dim} to {self.hidden}', '', '', ''


@dataclass(frozen=True)
class Build:
    """A kernel for a layer or a ConvFFN on a GPU; `dtype` is that of the matrix products."""

    kernel: str
    dtype: str
    part: Layer | Widths
    capability: int

    @property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    @property
    def layer(self) -> Layer:
        assert isinstance(self.part, Layer)
        return self.part

    def present(self) -> Configuration:
        """The table's configuration, of a kernel of attention."""
        layer = self.layer
        return find_configuration(self.kernel, self.torch_dtype, self.capability, layer.layout, layer.window)


@dataclass(frozen=True)
class Usage:
    """What a thread and a program take of a multiprocessor."""

    registers: int
    spilled: int  # bytes per thread
    shared: int  # bytes per program
    loop: Loop | None = None  # of a kernel of attention

    def __str__(self) -> str:
        return f'{self.registers} / {self.spilled} / {self.shared / 1024:.0f}'


def require_triton() -> None:
    """Raises UserError where Triton cannot be used."""
    require('triton', 'language', 'fused', 'this')


def parts_of(path: Path, kernel: str) -> list[Layer] | list[Widths]:
    """What of the network of an option file a kernel is compiled for."""
    net = load_options(path)['network_g']
    if kernel in POINTWISE:
        return [Widths(net['dim'], int(net['dim'] * net['ffn_expansion']))]
    return layers_of(path)


def layers_of(path: Path) -> list[Layer]:
    """The attention layers of the network of an option file."""
    net = load_options(path)['network_g']
    ranks = net['bias'].get('ranks', [0] * len(net['window_sizes']))
    return [
        Layer(net['dim'] // heads, rank, window, heads)
        for window, heads, rank in zip(net['window_sizes'], net['num_heads'], ranks, strict=True)
    ]


def compile_kernel(build: Build, configuration: Configuration | None = None, map_dtype: str | None = None) -> Usage:
    """Compile one kernel, with all it can do: a gate, a norm, what the gradients need saved.

    The outcome stays in Triton's cache, where a launch on such a GPU finds it. A kernel of attention is compiled as
    `configuration` says, None is the table's; `map_dtype` is that of the map, where it is not that computed in.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if build.kernel in POINTWISE:
        function, constants = _pointwise(build)
    else:
        function, constants = _attention(build, configuration or build.present())
    keywords = {name: constants.pop(name) for name in LAUNCH}
    signature: dict[str, str] = {}
    attributes: dict[tuple[int], list[list[object]]] = {}  # all as a launch has them, or it would not find this build
    for index, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = 'constexpr'
            attributes[(index,)] = []
        elif name in INTEGERS:
            signature[name] = 'i32'
        else:
            own = 'float32' if name in IN_FLOAT32 else build.dtype if name in FACTORS else map_dtype or build.dtype
            signature[name] = f'*{DTYPES[own]}'
            attributes[(index,)] = [['tt.divisibility', 16]]
    source = ASTSource(function, signature, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget('cuda', build.capability, 32), options=keywords)
    cubin = compiled.asm['cubin']
    loop = None if build.kernel in POINTWISE else inner_loop(cubin)
    return Usage(*registers_and_stack(cubin), compiled.metadata.shared, loop)


def _attention(build: Build, configuration: Configuration) -> tuple[Any, dict[str, Any]]:
    """A kernel of attention, with its constants and how it is launched."""
    from sst.ops.kernels.backward import key_kernel, query_kernel
    from sst.ops.kernels.forward import forward_kernel

    layer = build.layer
    geometry = Geometry(1, 320, 180, layer.layout, layer.window, layer.num_heads, 0, build.torch_dtype)
    without = {} if layer.rank else dict.fromkeys(FACTORS)
    function = dict(zip(KERNELS, (forward_kernel, query_kernel, key_kernel), strict=True))[build.kernel]
    constants = {**geometry.constants(), **configuration.keywords(), **without}
    return function, {name: constants[name] for name in constants if name in (*function.arg_names, *LAUNCH)}


def _pointwise(build: Build) -> tuple[Any, dict[str, Any]]:
    """A kernel of `sst.ops.kernels.pointwise`, with its constants and how it is launched."""
    from sst.ops.kernels.pointwise import depthwise_gradient_kernel, depthwise_kernel, linear_kernel

    widths = build.part
    assert isinstance(widths, Widths)
    if build.kernel == 'depthwise_gradient':
        blocks = DepthwiseBlocks.of_gradients(build.capability, widths.hidden).keywords()
        return depthwise_gradient_kernel, {'F': widths.hidden, **blocks}
    if build.kernel.startswith('depthwise'):
        without = {'grad': None} if build.kernel == 'depthwise' else {}
        blocks = DepthwiseBlocks.of(build.capability, widths.hidden).keywords()
        return depthwise_kernel, {'F': widths.hidden, **without, **blocks}
    first, second = channel_tiles(widths.dim)
    sizes = {'C': widths.dim, 'K': widths.hidden, 'FIRST': first, 'SECOND': second}
    blocks = LinearBlocks.of(build.capability, build.torch_dtype, widths.hidden).keywords()
    return linear_kernel, {'EPS': 1e-6, 'ACTIVATION': 'gelu', **sizes, **blocks}
