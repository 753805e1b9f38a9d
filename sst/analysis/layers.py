"""Inside the attention of SST and ESC-RIB: positional biases, attention distances and gates of the layers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sst.archs import WindowAttention, WindowNetwork
from sst.ops import Factored, Term, window_attention
from sst.ops.windows import map_windows

QUERIES = 256  # of a window, that attention distances are averaged over


@dataclass(frozen=True)
class Capture:
    """One attention of a network, and the map that came to it."""

    block: int  # from 0
    layer: int  # in its block, from 0
    attention: WindowAttention
    map: Tensor | None = None  # (B, H, W, C), normalised

    @property
    def name(self) -> str:
        return f'block {self.block + 1}, layer {self.layer + 1}, w = {self.attention.window}'


def layers_of(net: WindowNetwork) -> list[Capture]:
    """All attentions of a network, in order, without maps."""
    return [
        Capture(block, layer, attention)
        for block, parts in enumerate(net.blocks.children())
        for layer, attention in enumerate(part for part in parts.modules() if isinstance(part, WindowAttention))
    ]


@contextmanager
def _hooked(net: WindowNetwork, found: dict[int, Tensor]) -> Iterator[None]:
    def keep(module, inputs):
        found[id(module)] = inputs[0].detach()

    handles = [each.attention.register_forward_pre_hook(keep) for each in layers_of(net)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def captured(net: WindowNetwork, lr: Tensor) -> list[Capture]:
    """All attentions of a network with the maps that come to them while it enlarges `lr` (B, 3, h, w)."""
    found: dict[int, Tensor] = {}
    with _hooked(net, found):
        net(lr)
    return [Capture(each.block, each.layer, each.attention, found[id(each.attention)]) for each in layers_of(net)]


@torch.no_grad()
def bias_map(attention: WindowAttention, query: tuple[int, int] | None = None) -> Tensor:
    """What is added to the logits of one query, as maps (heads, w, w) over the keys.

    Args:
        attention (WindowAttention): of a network of ours.
        query (tuple | None): (y, x) of the query in the window. None: the middle, (w // 2, w // 2).

    Raises:
        ValueError: the query is outside of the window, or the attention adds nothing to its logits.
    """
    window = attention.window
    y, x = query or (window // 2, window // 2)
    if not (0 <= y < window and 0 <= x < window):
        raise ValueError(f'query must be inside the window of {window}x{window}, not {(y, x)}')
    term = _term(attention)
    token = y * window + x
    if isinstance(term, Factored):
        rows = term.q[:, token : token + 1] @ term.k.transpose(1, 2)
    else:
        rows = term.materialize()[:, token : token + 1]
    return rows.float().reshape(-1, window, window)


@torch.no_grad()
def bias_spectrum(attention: WindowAttention) -> Tensor:
    """The singular values of the bias (N, N) of each head, greatest first: (heads, rank), or (heads, N) of a table.

    The singular values of q k^T with QR decompositions q = Q_q R_q and k = Q_k R_k are those of the small R_q R_k^T.

    Raises:
        ValueError: the attention adds nothing to its logits.
    """
    term = _term(attention)
    if isinstance(term, Factored):
        q, k = (torch.linalg.qr(factor.double(), mode='r').R for factor in (term.q, term.k))
        return torch.linalg.svdvals(q @ k.transpose(1, 2))
    return torch.linalg.svdvals(term.materialize().double())


def _term(attention: WindowAttention) -> Term:
    term = attention.bias.tables()[0]
    if term is None:
        kind = type(attention.bias).__name__
        raise ValueError(f'{kind} adds nothing to the logits, so it has no map; it acts on the features or on q and k')
    return term


@torch.no_grad()
def attention_distance(capture: Capture) -> Tensor:
    """How far each head looks: the mean distance in pixels between query and key, weighted by the attention.

    Tokens of the padding take part as they do in the network. In large windows, evenly spread queries stand for all.

    Args:
        capture (Capture): with its map (B, H, W, C).

    Returns:
        Tensor: (heads,), mean over windows and queries.
    """
    attention = capture.attention
    window, heads = attention.window, attention.num_heads
    tokens = window**2
    term, rotation = attention.bias.tables()
    count = min(QUERIES, tokens)
    device = _map(capture).device
    queries = torch.linspace(0, tokens - 1, count, device=device).round().long()
    axis = torch.arange(window, device=device)
    place = torch.cartesian_prod(axis, axis)  # (N, 2)
    distance = torch.cdist(place[queries].double(), place.double())  # (queries, N)
    bias = None
    if isinstance(term, Factored):
        bias = term.q[:, queries] @ term.k.transpose(1, 2)
    elif term is not None:
        bias = term.materialize()[:, queries]
    sums = torch.zeros(heads, dtype=torch.float64, device=device)
    seen = 0

    def attend(qkv: Tensor) -> Tensor:  # (M, N, 3C)
        nonlocal seen
        for one in qkv.float():
            q, k, _ = one.unflatten(-1, (3, heads, -1)).unbind(1)  # (N, heads, d)
            if rotation is not None:
                q, k = rotation.apply(q), rotation.apply(k)
            logits = torch.einsum('qhd,khd->hqk', q[queries], k) * q.shape[-1] ** -0.5
            weights = (logits if bias is None else logits + bias.float()).softmax(dim=-1)
            sums.add_((weights * distance).sum(dim=(1, 2)))
            seen += count
        return qkv[..., : qkv.shape[-1] // 3]

    map_windows(attend, attention.qkv(_map(capture)), window, attention.shift)
    return sums / seen


@torch.no_grad()
def gate_maps(capture: Capture) -> tuple[Tensor, Tensor | None]:
    """The attention before its gate, and the gate, of the first image of a map (Figure S2).

    Returns:
        tuple[Tensor, Tensor | None]: (H, W) mean |attention| over the channels, and (H, W) mean gate in (0, 1), or None
        if the network has no gate.
    """
    attention = capture.attention
    x = _map(capture)[:1]
    term, rotation = attention.bias.tables()
    out = window_attention(
        attention.qkv(x), attention.window, attention.num_heads, term, rotation=rotation, shift=attention.shift
    )
    gate = attention.gate(x)
    return out[0].float().abs().mean(dim=-1), None if gate is None else gate[0].float().mean(dim=-1)


def _map(capture: Capture) -> Tensor:
    if capture.map is None:
        raise ValueError(f'{capture.name}: has no map; take it from `captured(net, lr)`')
    return capture.map
