"""Stepping out of autocast where the precision is decided already."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_off(device: torch.device) -> AbstractContextManager:
    """A context in which autocast changes nothing on `device`; a no-op on devices that know no autocast."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
