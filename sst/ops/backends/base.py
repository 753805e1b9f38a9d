"""The interface of attention backends, and the base of those that attend in windows cut out of the map."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sst.ops.heads import crop_heads
from sst.ops.terms import Factored, Rotation, Term
from sst.ops.windows import map_windows

MOST_WINDOWS = 65_535  # of a call: kernels of others put the batch on an axis of the grid that ends there


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of `window_attention`."""

    qkv: Tensor  # (B, H, W, 3 * heads * (d + padding))
    window: int
    num_heads: int
    term: Term | None
    rotation: Rotation | None
    gate: Tensor | None  # (B, H, W, C)
    shift: int
    dtype: torch.dtype  # in which attention computes
    padding: int = 0  # channels of zeros after those of each head of qkv

    @property
    def head_dim(self) -> int:
        return self.qkv.shape[-1] // (3 * self.num_heads) - self.padding

    def without_padding(self) -> 'Inputs':
        """The same, with heads as wide as they are."""
        return replace(self, qkv=crop_heads(self.qkv, 3 * self.num_heads, self.padding), padding=0)

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """The factors of the term, (heads, N, rank) each, where it has them."""
        return (self.term.q, self.term.k) if isinstance(self.term, Factored) else None

    @property
    def rank(self) -> int:
        """Number of channels that the factors add to q and k."""
        return self.factors[0].shape[-1] if self.factors else 0

    @property
    def needs_gradients(self) -> bool:
        """Whether gradients of this call are recorded."""
        tensors = (self.qkv, *(self.factors or ()), self.gate)
        return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)

    def unfactored(self) -> list[str]:
        """For backends that add only factored terms: the reason not to serve, or an empty list."""
        if self.term is None or isinstance(self.term, Factored):
            return []
        return [f'it adds only terms of two factors, not a {type(self.term).__name__}']


class Backend(ABC):
    """A way to compute window attention; option files name it by `name`."""

    name: str

    @abstractmethod
    def unsupported(self, inputs: Inputs) -> list[str]:
        """The reasons why this backend cannot compute these inputs; empty if it can."""

    def automatic(self, inputs: Inputs) -> bool:
        """Whether `auto` may choose this backend, if it can compute the inputs."""
        return True

    def reads_padding(self, inputs: Inputs) -> bool:
        """Whether it takes heads with their padding. If not, `window_attention` cuts the padding off first."""
        return False

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Tensor:
        """The result of `window_attention`, (B, H, W, C), in the dtype of `inputs.qkv`."""


@torch.compiler.assume_constant_result  # torch.compile cannot trace this call
def compute_capability(device: torch.device) -> tuple[int, int]:
    """The compute capability of a CUDA device, as (9, 0)."""
    return torch.cuda.get_device_capability(device)


def older_than_ampere(device: torch.device) -> bool:
    """Whether a CUDA device's compute capability is below 8.0."""
    return compute_capability(device) < (8, 0)


class WindowedBackend(Backend):
    """A backend that cuts windows out of the padded map; a subclass defines only `attend`."""

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs) -> Tensor:
        """softmax(q k^T / sqrt(d) + term) v for each window; q, k, v and the result are (M, N, heads, d)."""

    def __call__(self, inputs: Inputs) -> Tensor:
        def attend(tokens: Tensor) -> Tensor:
            tokens = tokens.unflatten(-1, (3, inputs.num_heads, inputs.head_dim)).to(inputs.dtype)
            q, k, v = tokens.unbind(2)  # each (M, N, heads, d)
            if inputs.rotation is not None:
                q, k = inputs.rotation.apply(q), inputs.rotation.apply(k)
            return self.attend(q, k, v, inputs).flatten(-2).to(inputs.qkv.dtype)  # (M, N, C)

        def attend_in_parts(tokens: Tensor) -> Tensor:
            if len(tokens) <= MOST_WINDOWS:
                return attend(tokens)
            return torch.cat([attend(part) for part in tokens.split(MOST_WINDOWS)])

        out = map_windows(attend_in_parts, inputs.qkv, inputs.window, inputs.shift)
        return out if inputs.gate is None else out * inputs.gate


def concatenated(q: Tensor, k: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Eq. 5: q = [q / sqrt(d), term.q], k = [k, term.k] for a factored term, so that q k^T are the logits.

    q and k are (M, N, heads, d); the result is (M, N, heads, d + rank).
    """
    q = q * inputs.head_dim**-0.5
    if inputs.factors is None:
        return q, k
    bias_q, bias_k = (f.transpose(0, 1).to(q.dtype).expand(*q.shape[:-1], -1) for f in inputs.factors)
    return torch.cat((q, bias_q), dim=-1), torch.cat((k, bias_k), dim=-1)
