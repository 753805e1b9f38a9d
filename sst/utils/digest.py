"""A fingerprint of tensors, numbers, texts and containers of them."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch


def digest(content: Any) -> str:
    """SHA-256 in hexadecimal digits of what `torch.load` gives back: the order of keys does not matter, each bit does.

    Raises:
        TypeError: it holds something else.
    """
    found = hashlib.sha256()
    _add(found, content)
    return found.hexdigest()


def _add(found: Any, content: Any) -> None:
    if isinstance(content, torch.Tensor):
        found.update(f'tensor {content.dtype} {tuple(content.shape)}\n'.encode())
        # as bytes, because NumPy has no bfloat16
        found.update(content.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(content, Mapping):
        found.update(f'mapping {len(content)}\n'.encode())
        for key in sorted(content, key=lambda key: (type(key).__name__, key)):
            _add(found, key)
            _add(found, content[key])
    elif isinstance(content, list | tuple):
        found.update(f'list {len(content)}\n'.encode())
        for item in content:
            _add(found, item)
    elif content is None or isinstance(content, bool | int | float | str):
        found.update(f'{type(content).__name__} {content!r}\n'.encode(errors='surrogateescape'))
    else:
        raise TypeError(f'{type(content).__name__} has no digest')
