"""What operators with gradients share: results without values for tracing, and the registration of gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def empty_gradients(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    """A contiguous tensor without values like each of `tensors`; one without elements in place of None."""
    return [
        torch.empty(0) if t is None else torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors
    ]


def register_gradients(
    operator: Any,
    backward: Callable[..., Sequence[Tensor]],
    saved: Callable[[Sequence[Any], tuple[Tensor, ...]], Sequence[Tensor]],
    tensors: int,
    options: int,
) -> None:
    """Register the gradients of an operator with regard to its first result.

    Args:
        operator: of `torch.library.custom_op`; its first `tensors` arguments may be None.
        backward (Callable): takes the gradient of the result, those tensors, the `saved` ones and the next `options`
            arguments; returns the gradient of each tensor, without elements where the tensor is None.
        saved (Callable): which tensors to keep of the operator's arguments and of its results.
        tensors (int), options (int): numbers of arguments.
    """

    def save(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.arguments, ctx.options = len(inputs), inputs[tensors : tensors + options]
        ctx.save_for_backward(*inputs[:tensors], *saved(inputs, output))

    def gradients(ctx: Any, grad: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once: activation checkpointing recomputes them at each reading
        found = backward(grad, *saved, *ctx.options)
        given = (g if t is not None else None for g, t in zip(found, saved, strict=False))
        return (*given, *[None] * (ctx.arguments - tensors))

    operator.register_autograd(gradients, setup_context=save)
