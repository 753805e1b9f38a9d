"""Leaves autocast where the precision is already chosen."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast_off(device: torch.device) -> AbstractContextManager:
    """A context in which autocast changes nothing on `device`; it does nothing on devices without autocast."""
    if has_autocast(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@torch.compiler.assume_constant_result  # older versions of torch cannot trace this call
def has_autocast(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type)
