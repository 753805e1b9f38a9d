"""Window attention as a module, and what all networks made of it can do besides enlarging."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from sst.archs import gates
from sst.archs.bias import build_bias
from sst.archs.layers import Conv2d
from sst.ops import UnsupportedBackendError, check_backend, check_fused_layers, window_attention
from sst.ops.attention import default_dtype
from sst.ops.backends import BACKENDS
from sst.ops.backends.base import Inputs
from sst.ops.cuda_graphs import CudaGraphs
from sst.ops.fused_check import SIZE, Agree, decide
from sst.ops.verdicts import Case
from sst.options.registries import GATES


class WindowAttention(nn.Module):
    """Multi-head attention in windows with a positional bias and a gate (Eq. 4-11)."""

    def __init__(self, options: dict, index: int) -> None:
        super().__init__()
        dim, windows = options['dim'], options['window_sizes']
        self.window = windows[index]
        self.num_heads = options['num_heads'][index]
        # If all windows have one size, every second layer shifts them, so that they exchange information.
        self.shift = self.window // 2 if index % 2 and len(set(windows)) == 1 else 0
        self.backend = options['backend']
        self.dtype = None if options['attention_dtype'] == 'auto' else getattr(torch, options['attention_dtype'])
        self.qkv = nn.Linear(dim, 3 * dim)
        self.bias = build_bias(options['bias'], index, window=self.window, num_heads=self.num_heads, dim=dim)
        self.gate = GATES.build(options['gate'], dim=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        term, rotation = self.bias.tables()
        gate = self.gate(x)
        out = window_attention(
            self.qkv(x),
            self.window,
            self.num_heads,
            term,
            rotation=rotation,
            gate=gate,
            shift=self.shift,
            backend=self.backend,
            dtype=self.dtype,
        )
        return self.proj(out)

    def case(self, map_dtype: torch.dtype, device: torch.device, gradients: bool) -> Case | None:
        """What the choice of the fused kernels depends on; None if they are not to choose or cannot compute this."""
        term, rotation = self.bias.tables()
        qkv = torch.empty(1, 1, 1, 3 * self.proj.in_features, device=device, dtype=map_dtype)
        inputs = Inputs(
            qkv, self.window, self.num_heads, term, rotation, None, self.shift, self.dtype or default_dtype(qkv)
        )
        if self.backend != 'auto' or BACKENDS['fused'].unsupported(inputs):
            return None
        gated = not isinstance(self.gate, gates.NoGate)
        sizes = self.window, self.num_heads, inputs.head_dim, inputs.rank
        return Case(map_dtype, inputs.dtype, *sizes, gated, gradients)

    def check_backend(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `AttentionNetwork.check_backend`."""
        term, rotation = self.bias.tables()
        sizes = {'dim': self.proj.in_features, 'window': self.window, 'num_heads': self.num_heads}
        check_backend(self.backend, device, dtype, **sizes, term=term, rotation=rotation, dtype=self.dtype)


class AttentionNetwork(nn.Module):
    """The base of networks with `WindowAttention`: preparation for inference, and checks of the backend.

    A subclass has the modules `stem`, blocks with a flag `recompute`, and layers with a `WindowAttention` as `attn`.
    """

    cuda_dtype: ClassVar[torch.dtype] = torch.float16  # what `optimize_for_inference` takes on CUDA by default
    starts_from_noise: ClassVar[bool] = False  # then it takes more than the LR image
    options: dict[str, Any]
    scale: int
    stem: Conv2d
    graphs: CudaGraphs | None = None

    def optimize_for_inference(
        self, dtype: torch.dtype | None = None, *, fused: bool | None = None, graphs: int = 0
    ) -> Self:
        """Prepare this network, on its device, for enlarging images; it must not be trained afterwards.

        Maps and weights get `dtype`. The positional tables, sums inside normalisation and attention, and the addition
        of the enlarged input stay in float32, so half precision affects only what the network adds to the image.
        `graphs` are off by default: on large inputs they save next to nothing.

        Args:
            dtype (torch.dtype | None): float32, float16 or bfloat16. None: `cuda_dtype` on CUDA, float32 elsewhere.
            fused (bool | None): compute ConvFFN and the gate by our Triton kernels (`sst.ops.pointwise`), not by torch.
                None: on CUDA where a check on this machine finds them right and not slower.
            graphs (int): replay inputs of up to this many LR pixels, B * H * W, as CUDA graphs from the second input
                of a shape on, if no gradients are recorded (see `CudaGraphs`). 0: none.

        Returns:
            Self: this network, in evaluation mode, without gradients.

        Raises:
            ValueError: `dtype` is another dtype, or `graphs` is negative.
            UnsupportedBackendError: `fused` or `graphs` cannot be used here; the message says why.
        """
        device = self.stem.weight.device
        chosen = dtype or (self.cuda_dtype if device.type == 'cuda' else torch.float32)
        self.check_inference(device, chosen, fused=bool(fused), graphs=graphs)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.LayerNorm)):
                module.to(chosen)
        if fused is None:
            fused = device.type == 'cuda' and self.fused_is_better(chosen)
        for module in self.modules():
            if hasattr(module, 'fused'):  # layers with kernels for several steps at once
                module.fused = fused  # type: ignore[assignment]
        self.graphs = CudaGraphs(graphs) if graphs else None
        if device.type == 'cuda':
            self.choose_kernels()
        return self

    def fused_is_better(self, dtype: torch.dtype) -> bool:
        """Whether `optimize_for_inference` takes our kernels for the layers, now in `dtype`, unless it is told."""
        return False

    def choose_kernels(
        self,
        size: tuple[int, int] = SIZE,
        batch: int = 1,
        *,
        map_dtype: torch.dtype | None = None,
        gradients: bool = False,
        agree: Agree = lambda taken: taken,
    ) -> None:
        """Have a check on this machine decide which layers `auto` computes by the fused kernels.

        `optimize_for_inference` and the training model call it. Without it, `auto` takes another backend.

        Args:
            size (tuple[int, int]), batch (int): height and width of the LR images, and how many.
            map_dtype (torch.dtype | None): of the maps: that of autocast, or None for that of the weights.
            gradients (bool): whether the network is trained.
            agree (Callable): see `sst.ops.fused_check.decide`.
        """
        device, dtype = self.stem.weight.device, map_dtype or self.stem.weight.dtype
        attentions = (module for module in self.modules() if isinstance(module, WindowAttention))
        cases = (attention.case(dtype, device, gradients) for attention in attentions)
        decide(filter(None, cases), device, size, batch, agree=agree)

    def check_inference(self, device: torch.device, dtype: torch.dtype, *, fused: bool, graphs: int) -> None:
        """Raise the errors that `optimize_for_inference` would raise on `device`."""
        if dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise ValueError(f'dtype must be float32, float16 or bfloat16, not {dtype}')
        if graphs < 0:
            raise ValueError(f'graphs must be at least 0 LR pixels (0: none), not {graphs}')
        self.check_backend(device, dtype)
        if fused:
            check_fused_layers(device, dtype, self.options['dim'])
        if graphs and self.starts_from_noise:
            raise UnsupportedBackendError(f'CUDA graphs cannot replay {type(self).__name__}; leave out graphs')
        if graphs and device.type != 'cuda':
            raise UnsupportedBackendError(
                f'CUDA graphs need a CUDA device, not {device.type}; move the network first, or leave out graphs'
            )

    def recompute_activations(self) -> None:
        """Keep only the input of each layer for the backward pass and compute the rest again, to save memory."""
        for module in self.modules():
            if hasattr(module, 'recompute'):
                module.recompute = True  # type: ignore[assignment]  # a flag

    def compile_layers(self) -> None:
        """Compile each layer by torch.compile. Layers with equal windows share code, so this takes little time."""
        for module in self.modules():
            if isinstance(getattr(module, 'attn', None), WindowAttention):
                module.compile()

    def check_backend(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        """Raise UnsupportedBackendError if the attention backend of the options cannot compute on `device`.

        Args:
            device (torch.device): where the network will run; the network itself may be on `meta`.
            dtype (torch.dtype): dtype of the maps, which is half precision under autocast.
        """
        for module in self.modules():
            if isinstance(module, WindowAttention):
                module.check_backend(device, dtype)
