"""Biases of low rank, q k^T: RIB (the paper's), its SIREN variant and FlashBias."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from sst.archs.bias.base import PositionalBias, window_coordinates
from sst.ops import Factored
from sst.utils.autocast import autocast_off


class ImplicitBias(PositionalBias):
    """A coordinate network shared by all heads, then one linear map per head to the rank (Eq. 2 and 3).

    H = activation(embedding W_h + b_h); Pq = H W_q, Pk = H W_k; logits += (Pq / sqrt(r)) Pk^T. Always in float32.
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


class RIB(ImplicitBias):
    """Rank-factorized implicit neural bias (Eq. 1-6).

    Args:
        window (int): side of the window, in pixels.
        num_heads (int): heads of the attention.
        rank (int): r, the channels added to q and k.
        hidden (int): width of the hidden layer.
        bands (int): L, the frequency bands of the Fourier embedding.
    """

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


class SIREN(ImplicitBias):
    """RIB without Fourier embedding and with a sine in place of ReLU (ablation): H = sin(30 (p W_h + b_h))."""

    def __init__(self, window: int, num_heads: int, rank: int, hidden: int = 32) -> None:
        super().__init__(window, num_heads, rank, hidden, inputs=2)
        nn.init.uniform_(self.hidden_weight, -1 / 2, 1 / 2)
        bound = (6 / hidden) ** 0.5 / 30
        nn.init.uniform_(self.query_weight, -bound, bound)
        nn.init.uniform_(self.key_weight, -bound, bound)

    def hidden(self, coordinates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return (30 * (coordinates @ weight + bias)).sin()


class FlashBias(PositionalBias):
    """Factors learnt freely, one vector per token and head (ablation).

    The published code starts both at zero, from where no gradient leads away; here they start small and random.
    """

    def __init__(self, window: int, num_heads: int, rank: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_heads, window * window, rank))
        self.key = nn.Parameter(torch.empty(num_heads, window * window, rank))
        nn.init.normal_(self.query, std=0.02)
        nn.init.normal_(self.key, std=0.02)

    def term(self) -> Factored:
        return Factored(self.query * self.query.shape[-1] ** -0.5, self.key)
