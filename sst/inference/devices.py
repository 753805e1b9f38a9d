"""The device that networks compute on."""

import torch

from sst.utils.errors import UserError

KNOWN = ('cuda', 'mps', 'cpu')


def best_device() -> torch.device:
    """CUDA if there is one, otherwise Apple's MPS, otherwise the CPU."""
    if torch.cuda.is_available():
        return torch.device('cuda')
    return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')


def named_device(name: str) -> torch.device:
    """The device of that name: cuda, cuda:1, mps, cpu.

    Raises:
        UserError: there is no such device on this machine.
    """
    try:
        device = torch.device(name)
        usable = device.type in KNOWN and bool(torch.zeros(1, device=device).isfinite())
    except Exception:  # torch and drivers raise many kinds of errors
        usable = False
    if not usable:
        raise UserError(
            f'--device {name}: this computer has no such device; use cpu, or cuda, cuda:1 or mps where there is one'
        )
    return device
