"""The selective scan of Mamba: a linear recurrence whose decay, input and output weights differ at every position.

    h_t = exp(delta_t A) * h_(t-1) + (delta_t u_t) B_t,    y_t = C_t h_t + D u_t,    h_(-1) = 0

The sequence is cut into m chunks of T steps, and all chunks run at once, in three passes:

1. Each chunk runs from a zero state; only its last state is kept.
2. The states at the starts of the chunks follow from each other: start <- exp(A sum(delta)) * start + last state.
3. Each chunk runs again from its start and gives y.

This is exact, and stable where A <= 0, because nothing is divided by a decay. It keeps a few times B G m E N numbers
beside the result, never L E N of them.
The gradient is the same recurrence in reverse. It needs the states in reverse order too. It recomputes them from the
starts in segments of about sqrt(T) steps, so that it keeps about 2 sqrt(T) times B G m E N numbers.

On CUDA a Triton kernel computes the forward pass where Triton works (`sst.ops.kernels.scan_op`).
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sst.ops.backends.fused import device_reasons
from sst.ops.kernels.scan_op import MOST_STATES, STEPS, scan_forward


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The recurrence above, for groups of channels that have their own B and C. At least float32 inside.

    Args:
        u (Tensor): the input (B, G, L, E): batch, groups, positions, channels.
        delta (Tensor): the step sizes (B, G, L, E), not negative.
        a (Tensor): (G, E, N), not positive; N states for each channel.
        b (Tensor): (B, G, L, N).
        c (Tensor): (B, G, L, N).
        d (Tensor): (G, E).

    Returns:
        Tensor: y (B, G, L, E) in u's dtype.
    """
    _check_shapes(u, delta, a, b, c, d)
    dtype = torch.promote_types(u.dtype, torch.float32)
    exact = [x.to(dtype) for x in (u, delta, a, b, c, d)]
    differentiable = torch.is_grad_enabled() and any(x.requires_grad for x in exact[:5])
    y, _ = _scan(*exact[:5], chunks_of(u, a), differentiable)
    out = None if torch.is_grad_enabled() else y  # in place where nobody asks for gradients
    return torch.addcmul(y, exact[0], exact[5][:, None], out=out).to(u.dtype)


def _check_shapes(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> None:
    if u.dim() != 4 or 0 in u.shape:
        raise ValueError(f'u is {tuple(u.shape)}, it must be (batch, groups, positions, channels), none of them 0')
    batch, groups, length, channels = u.shape
    states = a.shape[-1]
    expected = {
        'delta': (delta, tuple(u.shape)),
        'a': (a, (groups, channels, states)),
        'b': (b, (batch, groups, length, states)),
        'c': (c, (batch, groups, length, states)),
        'd': (d, (groups, channels)),
    }
    for name, (given, shape) in expected.items():
        if tuple(given.shape) != shape:
            raise ValueError(f'{name} is {tuple(given.shape)}, it must be {shape} where u is {tuple(u.shape)}')


@torch.library.custom_op('sst::selective_scan', mutates_args=())
def _scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: int, differentiable: bool
) -> tuple[Tensor, Tensor]:
    """y without D u, and the states at the starts of the chunks (B, G, m, N, E), which the gradient needs."""
    forward = scan_forward if _kernel_serves(u, a) else chunked_scan
    y, starts = forward(u, delta, a, b, c, chunks)
    return y, starts if differentiable else u.new_empty(0)


@_scan.register_fake
def _fake_scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: int, differentiable: bool
) -> tuple[Tensor, Tensor]:
    batch, groups, _, channels = u.shape
    starts = (batch, groups, chunks, a.shape[2], channels) if differentiable else (0,)
    return torch.empty_like(u, memory_format=torch.contiguous_format), u.new_empty(starts)


@torch.library.custom_op('sst::selective_scan_backward', mutates_args=())
def _scan_backward(
    grad: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return chunked_gradients(grad, u, delta, a, b, c, starts)


@_scan_backward.register_fake
def _fake_scan_backward(
    grad: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    u, delta, a, b, c = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, delta, a, b, c))
    return u, delta, a, b, c


def _keep(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:5], output[1])


def _gradients(ctx, grad, _):
    return *_scan_backward(grad, *ctx.saved_tensors), None, None


_scan.register_autograd(_gradients, setup_context=_keep)


def _kernel_serves(u: Tensor, a: Tensor) -> bool:
    return (
        u.device.type == 'cuda'
        and u.dtype == torch.float32
        and a.shape[2] <= MOST_STATES
        and not device_reasons(u.device)
    )


def chunks_of(u: Tensor, a: Tensor) -> int:
    """Into how many chunks a sequence u (B, G, L, E) is cut.

    Without the kernel, sqrt(L) chunks take the fewest steps. The next power of two often divides L, which saves copies,
    and torch.compile can follow how it is found.
    """
    length = u.shape[2]
    if _kernel_serves(u, a):
        return -(-length // STEPS)
    chunks = 1
    while chunks * chunks < length:
        chunks *= 2
    return chunks


class Chunks:
    """Sequences u, delta (B, G, L, E), b, c (B, G, L, N) in `chunks` chunks of T steps, and a (G, E, N) for them.

    Positions beyond L have delta = u = 0: they decay by 1 and add nothing. States are (B, G, m, N, E).
    """

    def __init__(self, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: int) -> None:
        self.length, self.chunks = u.shape[2], chunks
        self.steps = -(-self.length // chunks)
        self.a = a.transpose(1, 2)[:, None].contiguous()  # (G, 1, N, E)
        self.delta, self.added, self.b, self.c = (self.cut(x) for x in (delta, delta * u, b, c))
        self.decay = u.new_empty(*u.shape[:2], chunks, a.shape[2], u.shape[3])  # of the latest step

    def cut(self, x: Tensor) -> Tensor:
        """(B, G, L, K) to (B, G, m, T, K)."""
        missing = self.chunks * self.steps - self.length
        return F.pad(x, (0, 0, 0, missing)).unflatten(2, (self.chunks, self.steps))

    def join(self, x: Tensor) -> Tensor:
        """The inverse of `cut`."""
        return x.flatten(2, 3)[:, :, : self.length]

    def set_decay(self, t: int) -> None:
        """exp(delta_t A)."""
        torch.mul(self.delta[..., t, :].unsqueeze(-2), self.a, out=self.decay).exp_()

    def advance(self, state: Tensor, t: int) -> None:
        """From the state before step t to the one after it, in place."""
        self.set_decay(t)
        state.mul_(self.decay).addcmul_(self.added[..., t, :].unsqueeze(-2), self.b[..., t, :].unsqueeze(-1))

    def carry(self, state: Tensor, order: Iterator[int]) -> None:
        """Replace what each chunk made from zero by what it gets from the chunks before it in `order`."""
        total = torch.mul(self.delta.sum(dim=3).unsqueeze(-2), self.a, out=self.decay).exp_()
        carried = torch.zeros_like(state[:, :, 0])
        for chunk in order:
            made = state[:, :, chunk].clone()
            state[:, :, chunk] = carried
            carried = carried.mul_(total[:, :, chunk]).add_(made)


def chunked_scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, chunks: int | None = None
) -> tuple[Tensor, Tensor]:
    """y (B, G, L, E) without D u, and the states at the starts of the chunks (B, G, m, N, E), in plain PyTorch."""
    run = Chunks(u, delta, a, b, c, chunks or chunks_of(u, a))
    state = torch.zeros_like(run.decay)
    if run.chunks > 1:
        for t in range(run.steps):
            run.advance(state, t)
        run.carry(state, iter(range(run.chunks)))
    starts = state.clone()
    y = torch.empty_like(run.delta)
    for t in range(run.steps):
        run.advance(state, t)
        y[..., t, :] = (run.c[..., t, :].unsqueeze(-2) @ state).squeeze(-2)
    return run.join(y).contiguous(), starts


def chunked_gradients(
    grad: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of u, delta, a, b and c, where y has the gradient `grad`.

    With g_t the gradient of h_t: g_t = C_t grad_t + exp(delta_(t+1) A) * g_(t+1). What goes on from a step to the one
    before it, exp(delta_t A) * g_t, is `back`.
    """
    run = Chunks(u, delta, a, b, c, starts.shape[2])
    d_y = run.cut(grad)
    back = torch.zeros_like(starts)
    if run.chunks > 1:
        for t in reversed(range(run.steps)):
            back.addcmul_(d_y[..., t, :].unsqueeze(-2), run.c[..., t, :].unsqueeze(-1))
            run.set_decay(t)
            back.mul_(run.decay)
        run.carry(back, reversed(range(run.chunks)))

    d_added, d_delta, d_b, d_c = (torch.empty_like(x) for x in (run.added, run.delta, run.b, run.c))
    d_a, product = torch.zeros_like(back), torch.empty_like(back)
    for t, before, after in _states_backwards(run, starts):
        back.addcmul_(d_y[..., t, :].unsqueeze(-2), run.c[..., t, :].unsqueeze(-1))  # now g_t
        d_c[..., t, :] = (after @ d_y[..., t, :].unsqueeze(-1)).squeeze(-1)
        d_b[..., t, :] = (back @ run.added[..., t, :].unsqueeze(-1)).squeeze(-1)
        d_added[..., t, :] = (run.b[..., t, :].unsqueeze(-2) @ back).squeeze(-2)
        run.set_decay(t)
        back.mul_(run.decay)
        torch.mul(back, before, out=product)
        d_a.addcmul_(product, run.delta[..., t, :].unsqueeze(-2))
        d_delta[..., t, :] = product.mul_(run.a).sum(dim=-2)

    from_added = run.join(d_added)
    return (
        from_added * delta,
        run.join(d_delta).addcmul(from_added, u),
        d_a.sum(dim=(0, 2)).transpose(1, 2).contiguous(),
        run.join(d_b).contiguous(),
        run.join(d_c).contiguous(),
    )


def _states_backwards(run: Chunks, starts: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each step from the last to the first, with the states before and after it, from those at the chunks' starts."""
    size = math.isqrt(run.steps - 1) + 1
    firsts = range(0, run.steps, size)
    segments = starts.new_empty(len(firsts), *starts.shape)
    state = starts.clone()
    for t in range(firsts[-1] + 1):
        if t % size == 0:
            segments[t // size] = state
        run.advance(state, t)
    states = starts.new_empty(size + 1, *starts.shape)
    for segment, first in reversed(list(enumerate(firsts))):
        count = min(size, run.steps - first)
        states[0] = segments[segment]
        for i in range(count):
            states[i + 1] = states[i]
            run.advance(states[i + 1], first + i)
        for i in reversed(range(count)):
            yield first + i, states[i], states[i + 1]
