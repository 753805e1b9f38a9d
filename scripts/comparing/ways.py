"""The ways to compute a training run: what each changes in an option file, and whether it can serve here."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch

from measuring.results import check_words
from sst.archs import WindowNetwork
from sst.checkpoints.networks import built
from sst.models.sst_model import AMP_DTYPES
from sst.utils.errors import UserError

PLAIN = {'amp': None, 'compile': False, 'recompute': False}


@dataclass(frozen=True)
class Way:
    """One way: `network` and `train` are its changes of `network_g` and `train`."""

    name: str
    meaning: str
    network: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)

    @property
    def half(self) -> bool:
        """Whether anything is computed in half precision."""
        return self.train.get('amp') is not None


def _float32(backend: str) -> dict[str, Any]:
    return {'backend': backend, 'attention_dtype': 'float32'}  # else CUDA takes bfloat16 in attention, as published


REFERENCE = Way('reference', "the paper's equations, float32, weights one by one", _float32('reference'), PLAIN)
NUDGED = Way('nudged', 'the reference, each starting weight the next number to it', REFERENCE.network, REFERENCE.train)
FAST = (
    Way('auto', 'the fastest backend, fused optimiser', _float32('auto'), PLAIN),
    Way('recompute', 'auto, activations computed twice', _float32('auto'), PLAIN | {'recompute': True}),
    Way('fused', 'the Triton kernels, values and gradients', _float32('fused'), PLAIN),
    Way('compile', 'auto through torch.compile', _float32('auto'), PLAIN | {'compile': True}),
    Way('bf16', 'auto in mixed precision', {'backend': 'auto', 'attention_dtype': 'auto'}, PLAIN | {'amp': 'bf16'}),
    Way(
        'fused-bf16',
        'the Triton kernels in mixed precision',
        {'backend': 'fused', 'attention_dtype': 'auto'},
        PLAIN | {'amp': 'bf16'},
    ),
)
NAMES = tuple(way.name for way in FAST)
UNASKED = tuple(name for name in NAMES if name != 'compile')  # what is taken where nothing is said, if it can serve


def choose(names: list[str] | None, opt: dict[str, Any], device: torch.device) -> tuple[list[Way], dict[str, str]]:
    """The fast ways to run, and of those that nobody asked for by name the reasons why they cannot.

    Raises:
        UserError: an unknown name, or a way asked for by name that cannot serve here.
    """
    check_words('ways', names or [], NAMES)
    ways, refused = [], {}
    for way in FAST:
        if way.name not in (UNASKED if names is None else names):
            continue
        try:
            net = built(options_of(way, opt)['network_g'], 'meta')
            assert isinstance(net, WindowNetwork)
            net.check_backend(device, AMP_DTYPES['bf16'] if way.half else torch.float32)
        except UserError as reason:
            if names is not None:
                raise UserError(f'--ways {way.name}: {reason}') from reason
            refused[way.name] = str(reason)
        else:
            ways.append(way)
    return ways, refused


def options_of(way: Way, opt: dict[str, Any]) -> dict[str, Any]:
    """The run's options, computed in this way."""
    options = deepcopy(opt)
    options['name'] = way.name
    options['network_g'].update(way.network)
    options['train'].update(way.train)
    if way in (REFERENCE, NUDGED):
        options['train']['optim_g']['foreach'] = False  # every optimiser of torch has it
    return options
