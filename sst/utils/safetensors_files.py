"""Safetensors files: tensors and a few texts, nothing that could run."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from sst.utils.errors import UserError
from sst.utils.files import write_whole

LONGEST_HEADER = 100_000_000  # bytes, by the format


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether a file begins as a safetensors file does, whatever its name; False for one that cannot be read."""
    try:
        with open(path, 'rb') as file:
            head = file.read(9)
    except OSError:
        return False
    return head[8:] == b'{' and int.from_bytes(head[:8], 'little') <= LONGEST_HEADER


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the texts of a safetensors file.

    Raises:
        UserError: the file is truncated or damaged; one line that names it.
    """
    try:
        with safe_open(str(path), framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return tensors, dict(file.metadata() or {})
    except Exception as fault:  # SafetensorError, or OSError for some kinds of damage
        reason = str(fault).splitlines()[0]
        raise UserError(f'{path}: is damaged or truncated safetensors ({reason}); fetch or copy it again') from fault


def write_safetensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write a safetensors file so that either the old file or the whole new one is there. Raises `UserError`."""
    content = save({name: value.detach().contiguous() for name, value in tensors.items()}, dict(texts))
    write_whole(Path(path), lambda file: file.write(content), advice='make room or correct the rights')
