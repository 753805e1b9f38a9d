"""The networks that the page offers."""

from collections.abc import Sequence
from pathlib import Path

import torch

from sst.api import Upscaler, load_model
from sst.checkpoints.pretrained import MissingOptionsError
from sst.checkpoints.sources import HUB, shipped
from sst.inference.devices import named_device
from sst.utils.errors import UserError


def load_models(sources: Sequence[str], device: str | None, dtype: str | None) -> dict[str, Upscaler]:
    """The networks of `sources`, then those that ship, by the names that the page shows.

    Raises:
        UserError: no weights at all, weights that cannot be loaded, or a device that is not there; in one line.
    """
    place = None if device is None else named_device(device)
    wanted = [*dict.fromkeys(sources)]
    wanted += [name for name in shipped() if name.casefold() not in {source.casefold() for source in sources}]
    if not wanted:
        raise UserError(
            'no weights ship with this installation, so the page has no network to offer; '
            'name some: --model FILE, or --model hf://owner/repo/file'
        )
    models: dict[str, Upscaler] = {}
    for source in wanted:
        try:
            upscaler = load_model(source, device=place, dtype=dtype)
        except MissingOptionsError as error:
            raise UserError(error.kept()) from error
        models[_free_name(_name(source), models)] = upscaler
    return models


def device_name(device: torch.device) -> str:
    """A device in words: `CPU`, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type.upper()


def _name(source: str) -> str:
    if source.startswith(HUB):
        return source.removeprefix(HUB)
    path = Path(source)
    return path.stem if path.suffix in ('.safetensors', '.pth', '.pt') else path.name


def _free_name(name: str, taken: dict[str, Upscaler]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f'{name} ({number})'
        number += 1
    return free
