"""How precise float32 products are on CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_tf32(allowed: bool) -> None:
    """Let float32 products and convolutions on CUDA use TensorFloat-32, which keeps 10 bits of the mantissa, or not.

    PyTorch's own default is TensorFloat-32 in convolutions alone.
    """
    torch.set_float32_matmul_precision('high' if allowed else 'highest')
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def full_float32() -> Iterator[None]:
    """A context in which float32 products and convolutions are exact to float32, whatever `use_tf32` said."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    use_tf32(False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
