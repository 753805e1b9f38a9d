"""Networks of others, as they are timed: with random weights, by their own tests' padding, images whole."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sst.checkpoints.networks import built
from sst.inference.apply import build_predictor
from standings.entries import Entry

WHOLE = 'val:tile_grid=null'  # some rivals were published with tiles


class Applied(nn.Module):
    """A network padded as its test says, under autocast where half precision is asked for.

    Args:
        net (nn.Module): the network, on any device.
        options (Mapping): of its test.
        device (str): where it runs.
        dtype (torch.dtype): of autocast; float32 is none.
    """

    def __init__(
        self, net: nn.Module, options: Mapping[str, Any], device: str = 'cpu', dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.net, self.device, self.dtype = net, device, dtype
        self.predict: Callable[[Tensor], Tensor] = build_predictor(net, dict(options))

    def forward(self, lr: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, scale * H, scale * W)."""
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not torch.float32):
            return self.predict(lr)


def build_rival(entry: Entry, device: str, dtype: torch.dtype, *, training: bool) -> nn.Module:
    """A rival as `training_step` or `inference` take it. Raises UserError where a package is missing."""
    options = entry.options(WHOLE)
    net = built(options['network_g'], device)
    return net.train() if training else Applied(net.eval().requires_grad_(False), options, device, dtype)


def on_meta(entry: Entry) -> nn.Module:
    """A rival without memory, for counting. Raises UserError where a package is missing."""
    options = entry.options(WHOLE)
    return Applied(built(options['network_g'], 'meta').eval(), options)
