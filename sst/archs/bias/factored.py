"""Biases of low rank, q k^T: RIB (the paper's), its SIREN variant and FlashBias."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from sst.archs.bias.base import Hidden, PositionalBias, Ranks, Released, window_coordinates
from sst.ops import Factored
from sst.options.parts import PartOptions
from sst.options.registries import BIASES
from sst.utils.autocast import autocast_off


class LowRankBias(PositionalBias):
    """A bias whose rank may differ from layer to layer."""

    @classmethod
    def of_layer(cls, options: Mapping[str, Any], index: int) -> dict[str, Any]:
        others = {key: value for key, value in options.items() if key != 'ranks'}
        return others | {'rank': options['ranks'][index]}


class ImplicitBias(LowRankBias):
    """A coordinate network that all heads share, then one linear map to the rank for each head (Eq. 2 and 3).

    H = activation(embedding W_h + b_h); Pq = H W_q, Pk = H W_k; logits += (Pq / sqrt(r)) Pk^T. In float32.
    """

    def __init__(self, window: int, num_heads: int, rank: int, hidden: int, inputs: int) -> None:
        super().__init__()
        self.window = window
        self.hidden_weight = nn.Parameter(torch.empty(inputs, hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.query_weight = nn.Parameter(torch.empty(num_heads, hidden, rank))
        self.key_weight = nn.Parameter(torch.empty(num_heads, hidden, rank))

    @abstractmethod
    def hidden(self, coordinates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The hidden representation (N, hidden) of coordinates (N, 2)."""

    def term(self) -> Factored:
        device = self.hidden_weight.device
        with autocast_off(device):
            coordinates = window_coordinates(self.window, device)
            h = self.hidden(coordinates, self.hidden_weight.float(), self.hidden_bias.float())  # (N, hidden)
            query, key = (self._per_head(h, weight.float()) for weight in (self.query_weight, self.key_weight))
        return Factored(query * query.shape[-1] ** -0.5, key)

    @staticmethod
    def _per_head(h: Tensor, weight: Tensor) -> Tensor:
        """h W for each head, (heads, N, rank), as one matrix product."""
        heads, _, rank = weight.shape
        return (h @ weight.transpose(0, 1).flatten(1)).unflatten(1, (heads, rank)).transpose(0, 1)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        if 'query_weight' not in layers[0]:
            return None
        weights = [layer['query_weight'] for layer in layers]  # (heads, hidden, rank) each
        heads, ranks = ([weight.shape[axis] for weight in weights] for axis in (0, 2))
        return {'num_heads': tuple(heads), 'ranks': tuple(ranks), 'hidden': weights[0].shape[1]}


NAMES = {
    'attn.to_hidden': 'hidden_weight',
    'attn.hidden_b': 'hidden_bias',
    'attn.to_q': 'query_weight',
    'attn.to_k': 'key_weight',
}


@BIASES.register()
class RIB(ImplicitBias):
    """Rank-factorized implicit neural bias (Eq. 1-6).

    Args:
        window (int): side of the window, in pixels.
        num_heads (int): heads of the attention.
        rank (int): r, the channels added to q and k.
        hidden (int): width of the hidden layer.
        bands (int): L, the frequency bands of the Fourier embedding.
    """

    class Options(PartOptions):
        """The options of RIB."""

        ranks: Ranks
        hidden: Hidden = 32
        # at most 100, because float32 cannot represent 2^128
        bands: int = Field(default=10, ge=1, le=100, description='frequencies of the Fourier embedding')

    released = Released(
        'RIB', fields={'ranks': 'ranks', 'rib_hidden_dim': 'hidden', 'rib_n_freqs': 'bands'}, names=NAMES
    )

    def __init__(self, window: int, num_heads: int, rank: int, hidden: int = 32, bands: int = 10) -> None:
        super().__init__(window, num_heads, rank, hidden, inputs=2 + 4 * bands)
        self.bands = bands
        for weight in (self.hidden_weight, self.query_weight, self.key_weight):
            nn.init.normal_(weight, std=0.05)

    def hidden(self, coordinates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        frequencies = 2.0 ** torch.arange(self.bands, device=coordinates.device)
        phase = frequencies[:, None] * coordinates[:, None]  # (N, L, 2)
        waves = torch.stack((phase.sin(), phase.cos()), dim=2)  # (N, L, sin|cos, 2)
        return (torch.cat((coordinates, waves.flatten(1)), dim=-1) @ weight + bias).relu()  # Eq. 1 and 2

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        found = super().recognise(layers)
        inputs = layers[0]['hidden_weight'].shape[0] if found else 2
        return found | {'bands': (inputs - 2) // 4} if found and inputs > 2 else None


@BIASES.register()
class SIREN(ImplicitBias):
    """RIB without the Fourier embedding and with a sine instead of ReLU (ablation): H = sin(30 (p W_h + b_h))."""

    class Options(PartOptions):
        """The options of SIREN."""

        ranks: Ranks
        hidden: Hidden = 32

    released = Released('RIBSiren', fields={'ranks': 'ranks', 'rib_hidden_dim': 'hidden'}, names=NAMES)

    def __init__(self, window: int, num_heads: int, rank: int, hidden: int = 32) -> None:
        super().__init__(window, num_heads, rank, hidden, inputs=2)
        nn.init.uniform_(self.hidden_weight, -1 / 2, 1 / 2)
        bound = (6 / hidden) ** 0.5 / 30
        nn.init.uniform_(self.query_weight, -bound, bound)
        nn.init.uniform_(self.key_weight, -bound, bound)

    def hidden(self, coordinates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return (30 * (coordinates @ weight + bias)).sin()

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        found = super().recognise(layers)
        return found if found and layers[0]['hidden_weight'].shape[0] == 2 else None


@BIASES.register()
class FlashBias(LowRankBias):
    """Freely learnt factors, one vector per token and head (ablation).

    The published code starts both at zero, where all gradients are zero. Here they start small and random.
    """

    class Options(PartOptions):
        """The options of FlashBias."""

        ranks: Ranks

    released = Released(
        'FlashBias', fields={'ranks': 'ranks'}, names={'attn.flashbias_q': 'query', 'attn.flashbias_k': 'key'}
    )

    def __init__(self, window: int, num_heads: int, rank: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_heads, window * window, rank))
        self.key = nn.Parameter(torch.empty(num_heads, window * window, rank))
        nn.init.normal_(self.query, std=0.02)
        nn.init.normal_(self.key, std=0.02)

    def term(self) -> Factored:
        return Factored(self.query * self.query.shape[-1] ** -0.5, self.key)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict | None:
        if 'query' not in layers[0]:
            return None
        shapes = [layer['query'].shape for layer in layers]  # (heads, N, rank) each
        heads, tokens, ranks = zip(*shapes, strict=True)
        return {'num_heads': heads, 'window_sizes': tuple(map(math.isqrt, tokens)), 'ranks': ranks}
