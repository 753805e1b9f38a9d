"""The networks that enlarge: the one that is named, or those that ship, by the scale they are for."""

import os
from functools import cache

import torch

from sst.api import Upscaler, load_model
from sst.checkpoints.networks import network_in_options
from sst.checkpoints.pretrained import MissingOptionsError
from sst.checkpoints.sources import shipped
from sst.inference.devices import named_device
from sst.upscaling.arguments import Settings
from sst.utils.errors import UserError

SHIPPED = {2: 'SST-tiny-x2', 4: 'SST-tiny-x4'}
# Of the release we know the names of the files, and not those of the repositories that hold them.
BETTER = (
    "the paper's own is better: download SST_DF2K_X{scale}.pth from https://huggingface.co/collections/dslisleedh/sst, "
    'then type: sst-upscale {picture} -n SST_DF2K_X{scale}.pth --window-sizes 16,32,64,16,32,64'
)


class Models:
    """Networks, loaded when they are first needed.

    Args:
        settings: of the command line.

    Raises:
        UserError: a device that is not there.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, _device(settings.device)
        self.load = cache(self._load)

    def for_ratio(self, ratio: float) -> Upscaler:
        """The network for pictures that are to become so many times larger. Raises UserError."""
        return self.load(self.name_for(ratio))

    def name_for(self, ratio: float) -> str:
        """What names that network. Raises UserError."""
        return self.settings.model or self._shipped(ratio)

    def first(self) -> Upscaler:
        """The network for what the command line asks for, before any picture is looked at. Raises UserError."""
        return self.for_ratio(self.settings.scale or min(SHIPPED))

    def _shipped(self, ratio: float) -> str:
        there = {scale: name for scale, name in SHIPPED.items() if name in shipped()}
        if not there:
            raise UserError('no weights ship with this installation; name some: --model FILE, or hf://owner/repo/file')
        return there[min((scale for scale in there if scale >= ratio), default=max(there))]

    def _load(self, source: str) -> Upscaler:
        settings = self.settings
        heads = settings.num_heads
        try:
            return load_model(
                source,
                self.device,
                settings.dtype,
                network_g=network_in_options(settings.network),
                imports=settings.imports,
                window_sizes=settings.window_sizes,
                num_heads=heads[0] if heads and len(heads) == 1 else heads,
                param_key=settings.param_key,
                tile=settings.tile,
                overlap=settings.overlap,
                ensemble=settings.ensemble,
            )
        except MissingOptionsError as error:
            raise UserError(
                f'{error}; here as --window-sizes 16,32,... and --num-heads 6, or --network FILE.yml'
            ) from error
        except ValueError as error:  # a backend that cannot serve
            raise UserError(str(error)) from error


def robust_beside(network: str) -> str | None:
    """The weights for compressed pictures that ship beside others that ship: of the same scale, else of another."""
    name, _, scale = network.rpartition('-x')
    robust = [known for known in shipped() if known.startswith(f'{name}-robust-x')]
    if network not in shipped() or 'robust' in network or not robust:
        return None
    return f'{name}-robust-x{scale}' if f'{name}-robust-x{scale}' in robust else robust[-1]


def _device(name: str | None) -> torch.device | None:
    """The device of that name; where none is given and torchrun started several processes, each takes a GPU."""
    if name is not None:
        return named_device(name)
    rank = os.environ.get('LOCAL_RANK')
    if rank is None or not torch.cuda.is_available():
        return None
    return torch.device('cuda', int(rank) % torch.cuda.device_count())
