"""What all networks of window attention share: their preparation for inference, and their checks."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sst.archs.window_attention import WindowAttention
from sst.archs.window_options import windows_of
from sst.ops import UnsupportedBackendError, check_fused_layers
from sst.ops.cuda_graphs import CudaGraphs
from sst.ops.fused_check import SIZE, Agree, decide


class Layer(nn.Module):
    """A part that is compiled as a whole, and whose activations can be computed again in the backward pass."""

    recompute = False


def run_layer(layer: nn.Module, *inputs: Tensor) -> Tensor:
    """Apply a `Layer`. If its `recompute` is set, only its inputs are kept for the backward pass."""
    if layer.recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False)
    return layer(*inputs)


class AttentionNetwork(nn.Module):
    """The base of networks with `WindowAttention`.

    A subclass builds `stem`, and parts that are a `Layer`.

    Args:
        options (dict): the checked options of the network.
    """

    cuda_dtype: ClassVar[torch.dtype] = torch.float16  # what `optimize_for_inference` takes on CUDA by default
    starts_from_noise: ClassVar[bool] = False  # then it takes more than the LR image
    stem: nn.Conv2d

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options, self.scale = options, options['scale']
        self.graphs: CudaGraphs | None = None

    def attentions(self) -> Iterator[WindowAttention]:
        """All attentions, in order."""
        return (module for module in self.modules() if isinstance(module, WindowAttention))

    def layers(self) -> Iterator[Layer]:
        """All layers, in order."""
        return (module for module in self.modules() if isinstance(module, Layer))

    @property
    def windows(self) -> tuple[int, ...]:
        """Sides of the windows in a block, in pixels."""
        return windows_of(self.options)

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

        In these layers, and in those whose options name the kernels, heads of sizes like 30 are padded from now on.
        Neither weights nor results change. `optimize_for_inference` and the training model call it. Without it, `auto`
        takes another backend.

        Args:
            size (tuple[int, int]), batch (int): height and width of the LR images, and how many.
            map_dtype (torch.dtype | None): of the maps: that of autocast, or None for that of the weights.
            gradients (bool): whether the network is trained.
            agree (Callable): see `sst.ops.fused_check.decide`.
        """
        device, dtype = self.stem.weight.device, map_dtype or self.stem.weight.dtype
        cases = (attention.case(dtype, device, gradients) for attention in self.attentions())
        decide(filter(None, cases), device, size, batch, agree=agree)
        for attention in self.attentions():
            attention.choose_padding(dtype, device, gradients)

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
        for layer in self.layers():
            layer.recompute = True

    def compile_layers(self) -> None:
        """Compile each layer by torch.compile. Layers of equal shapes share code, so this takes little time."""
        for layer in self.layers():
            layer.compile()

    def check_backend(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        """Raise UnsupportedBackendError if the attention backend of the options cannot compute on `device`.

        Args:
            device (torch.device): where the network will run; the network itself may be on `meta`.
            dtype (torch.dtype): dtype of the maps, which is half precision under autocast.
        """
        for attention in self.attentions():
            attention.check_backend(device, dtype)
