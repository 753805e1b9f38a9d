"""The networks that enlarge: the one that the user names, or those that ship, chosen by their scale."""

import os
from functools import cache, partial

import torch

from sst.api import Upscaler, load_model
from sst.checkpoints.networks import network_in_options
from sst.checkpoints.pretrained import MissingOptionsError, on_command_line
from sst.checkpoints.sources import shipped
from sst.inference.devices import named_device
from sst.upscaling.arguments import Settings
from sst.utils.errors import UserError

# Without SST-tiny-x3: for results three times as large, x4 and shrinking are 0.1 dB better (sst/weights/README.md).
SHIPPED = {2: 'SST-tiny-x2', 4: 'SST-tiny-x4'}
FLAGS = {'window_sizes': '--window-sizes', 'num_heads': '--num-heads'}  # for options of a network
# We know the names of the release's files, but not the repositories that hold them.
BETTER = (
    "the paper's own is better: download SST_DF2K_X{scale}.pth from https://huggingface.co/collections/dslisleedh/sst, "
    'then type: sst-upscale {image} -n SST_DF2K_X{scale}.pth --window-sizes 16,32,64,16,32,64'
)


class Models:
    """The networks that a command line asks for. `load` gives one by its name and keeps it.

    Raises:
        UserError: the device does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, _device(settings.device)
        self.load = cache(self._load)

    def name_for(self, ratio: float | None) -> str:
        """The network for results `ratio` times as large as their inputs (None: any). Raises `UserError`."""
        if self.settings.model:
            return self.settings.model
        names = {scale: name for scale, name in SHIPPED.items() if name in shipped()}
        if not names:
            raise UserError('no weights ship with this installation; use --model FILE or hf://owner/repo/file')
        return names[min((scale for scale in names if scale >= (ratio or 0)), default=max(names))]

    def _load(self, source: str) -> Upscaler:
        settings = self.settings
        windows, heads = settings.window_sizes, settings.num_heads
        try:
            return load_model(
                source,
                self.device,
                settings.dtype,
                network_g=network_in_options(settings.network),
                imports=settings.imports,
                window_sizes=windows[0] if windows and len(windows) == 1 else windows,
                num_heads=heads[0] if heads and len(heads) == 1 else heads,
                param_key=settings.param_key,
                tile=settings.tile,
                overlap=settings.overlap,
                ensemble=settings.ensemble,
                guidance=settings.guidance,
                seed=settings.seed,
            )
        except MissingOptionsError as error:
            raise UserError(error.told(partial(on_command_line, flags=FLAGS, between=','))) from error
        except ValueError as error:  # a backend that cannot serve
            raise UserError(str(error)) from error


def robust_counterpart(network: str) -> str | None:
    """The shipped weights for compressed images that correspond to shipped ones: of the same scale, else of another."""
    name, _, scale = network.rpartition('-x')
    robust = [known for known in shipped() if known.startswith(f'{name}-robust-x')]
    if network not in shipped() or 'robust' in network or not robust:
        return None
    return f'{name}-robust-x{scale}' if f'{name}-robust-x{scale}' in robust else robust[-1]


def _device(name: str | None) -> torch.device | None:
    """The device of that name. Without a name, each of several processes of torchrun gets a GPU."""
    if name is not None:
        return named_device(name)
    rank = os.environ.get('LOCAL_RANK')
    if rank is None or not torch.cuda.is_available():
        return None
    return torch.device('cuda', int(rank) % torch.cuda.device_count())
