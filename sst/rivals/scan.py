"""What MambaIR and MambaIRv2 share: the weights of a selective scan, whose step sizes, B and C depend on its input."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sst.ops.selective_scan import selective_scan

STEP_SIZES = (1e-3, 1e-1)  # at first, log-uniform


class SelectiveScan(nn.Module):
    """Scans of G sequences with weights of their own, of E channels with N states each.

    (tau, B, C) = W_x u of widths (R, N, N), delta = softplus(W_dt tau + bias), A = -exp(A_logs); then the recurrence of
    `sst.ops.selective_scan`.

    Args:
        groups (int): G.
        channels (int): E.
        states (int): N.
        rank (int): R, of the step sizes.
    """

    def __init__(self, groups: int, channels: int, states: int, rank: int) -> None:
        super().__init__()
        self.groups, self.states, self.rank = groups, states, rank
        self.x_proj_weight = nn.Parameter(torch.empty(groups, rank + 2 * states, channels))
        self.dt_projs_weight = nn.Parameter(torch.empty(groups, channels, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(groups, channels))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(groups * channels, 1))
        self.Ds = nn.Parameter(torch.ones(groups * channels))
        nn.init.uniform_(self.x_proj_weight, -(channels**-0.5), channels**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        low, high = (math.log(size) for size in STEP_SIZES)
        steps = (torch.rand(groups, channels) * (high - low) + low).exp()
        self.dt_projs_bias.data.copy_(steps + (-(-steps).expm1()).log())  # the inverse of softplus

    def scan(self, u: Tensor, prompt: Tensor | None = None) -> Tensor:
        """(B, G, L, E) to the same shape; `prompt` (B, G, L, N) is added to C."""
        tau, b, c = (u @ self.x_proj_weight.mT).split((self.rank, self.states, self.states), dim=-1)
        if prompt is not None:
            c = c + prompt
        dtype = torch.promote_types(u.dtype, torch.float32)
        delta = F.softplus((tau @ self.dt_projs_weight.mT).to(dtype) + self.dt_projs_bias.to(dtype)[:, None])
        a = -self.A_logs.to(dtype).exp().unflatten(0, (self.groups, -1))
        return selective_scan(u, delta, a, b, c, self.Ds.view(self.groups, -1))
