"""Where networks compute."""

import torch

from sst.utils.errors import UserError

KNOWN = ('cuda', 'mps', 'cpu')


def best_device() -> torch.device:
    """CUDA where there is one, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device('cuda')
    return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')


def named_device(name: str) -> torch.device:
    """The device of that name: cuda, cuda:1, mps, cpu.

    Raises:
        UserError: none of these, or none on this machine; in one line.
    """
    try:
        device = torch.device(name)
        usable = device.type in KNOWN and bool(torch.zeros(1, device=device).isfinite())
    except Exception:  # torch and the drivers raise errors of many kinds
        usable = False
    if not usable:
        raise UserError(
            f'--device {name}: is not there; allowed are cpu, and cuda, cuda:1 or mps on computers with them'
        )
    return device
