"""Networks without memory: on the device `meta` a tensor has a shape and no values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NumbersOnCPU(TorchFunctionMode):
    """`torch.linspace` makes real numbers: networks of Swin's family read their drop rates from it one by one."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return function(*args, **kwargs)


@contextmanager
def on_meta() -> Iterator[None]:
    """Build networks on `meta`, those too that compute their drop rates as they are built."""
    with torch.device('meta'), _NumbersOnCPU():
        yield
