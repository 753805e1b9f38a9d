"""Any single-image network that spandrel reads, by the name of its architecture there.

spandrel recognises an architecture from the names and shapes of weights and works out its hyperparameters. `described`
turns that into `network_g`, from which the network is built again, so that it is tested, trained, converted and saved
as any other.
"""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from sst.rivals.spandrel_arch import EXTRAS, SpandrelNetwork
from sst.utils.errors import UserError, reason_of
from sst.utils.optional import require

OURS = 'SST'  # the architecture that `sst.interop.spandrel` adds to spandrel


@ARCH_REGISTRY.register()
class SpandrelModel(nn.Module):
    """A network of spandrel.

    It maps RGB in [0, 1], (B, 3, H, W), to (B, 3, scale * H, scale * W). Tiles should begin at multiples of `multiple`.
    `supports_half` says whether spandrel allows float16.

    Args:
        architecture (str): spandrel's name of the architecture, such as `ESRGAN`, `Compact` or `SPAN`.
        network (str): the name of the class, such as `RealPLKSR`.
        scale (int): the enlargement; 1 for networks that restore images.
        hyperparameters (dict): the arguments of the class.

    Raises:
        UserError: spandrel is missing or lacks the network, or the network does not enlarge by `scale`.
    """

    pads_itself = True  # images of any size

    def __init__(self, architecture: str, network: str, scale: int, hyperparameters: dict[str, Any]) -> None:
        super().__init__()
        architectures = _architectures()
        if architecture not in architectures:
            known = ', '.join(sorted(architectures))
            raise UserError(f'spandrel has no architecture {architecture}, but {known}')
        self.architecture = architectures[architecture]
        networks = _classes(self.architecture)
        if network not in networks:
            raise UserError(
                f'spandrel has no network {network} in {architecture}; it has {", ".join(sorted(networks))}'
            )
        descriptor = self.architecture.load(networks[network](**hyperparameters).state_dict())
        if descriptor.scale != scale:
            raise UserError(f'{network} of these hyperparameters enlarges {descriptor.scale} times, not {scale}')
        self.scale, self.supports_half = scale, descriptor.supports_half
        self.net = descriptor.model
        self._call = descriptor._call_fn  # the public call clamps, and gives no gradients
        needs = descriptor.size_requirements
        self.multiple, self.minimum, self.square = needs.multiple_of, needs.minimum, needs.square

    def translated(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a file under the names of this network; a file may have older names."""
        own = {f'net.{name}' for name in self.net.state_dict()}
        if state.keys() == own:
            return state
        known = _as_known(self.architecture, state)
        if known is not None:
            state = self.architecture.load(known).model.state_dict()
        return {f'net.{name}': value for name, value in state.items()}

    def forward(self, image: Tensor) -> Tensor:
        """Restore or enlarge images (B, 3, H, W) of any size."""
        height, width = image.shape[-2:]
        least = max(self.minimum, height, width) if self.square else self.minimum
        bottom, right = (-(-max(side, least) // self.multiple) * self.multiple - side for side in (height, width))
        if bottom or right:
            mode = 'reflect' if bottom < height and right < width else 'replicate'
            image = F.pad(image, (0, right, 0, bottom), mode)
        image = image.clone()  # some networks, such as RCAN there, write into it
        return self._call(self.net, image)[..., : self.scale * height, : self.scale * width]


def described(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """`network_g` of weights that spandrel recognises; None where it recognises none.

    Raises:
        UserError: spandrel is missing, or the network is not one from RGB images to RGB images.
    """
    for architecture in _architectures().values():
        if (known := _as_known(architecture, state)) is not None:
            break
    else:
        return None
    try:
        descriptor = architecture.load(known)
    except Exception as fault:  # it takes the weights apart, and they are anybody's
        name = architecture.name
        raise UserError(f'spandrel takes the weights for {name} and cannot read them: {reason_of(fault)}') from fault
    channels = descriptor.input_channels, descriptor.output_channels
    if channels != (3, 3) or descriptor.purpose == 'Inpainting':
        raise UserError(
            f'{architecture.name}: makes {channels[1]} channels of {channels[0]}, for {descriptor.purpose}; only '
            'networks from RGB to RGB are possible'
        )
    net = type(descriptor.model)
    hyperparameters = {key: value for key, value in descriptor.model.hyperparameters.items() if not callable(value)}
    for kind, item in ARCH_REGISTRY:
        if isinstance(item, SpandrelNetwork) and (item.place, item.__name__) == (net.__module__, net.__name__):
            return {'type': kind, **hyperparameters}
    return {
        'type': 'SpandrelModel',
        'architecture': architecture.id,
        'network': next(name for name, item in _classes(architecture).items() if item is net),
        'scale': descriptor.scale,
        'hyperparameters': hyperparameters,
    }


def _classes(architecture: Any) -> dict[str, type[nn.Module]]:
    """The networks of an architecture, by the names that spandrel's module has for them."""
    items = vars(import_module(type(architecture).__module__))
    return {name: item for name, item in items.items() if inspect.isclass(item) and issubclass(item, nn.Module)}


def _architectures() -> dict[str, Any]:
    """spandrel's architectures by name, in the order in which it tries them."""
    require('spandrel', 'MAIN_REGISTRY', 'spandrel', 'This network')
    import spandrel

    with suppress(UserError):
        require('spandrel_extra_arches', 'install', EXTRAS['spandrel_extra_arches'], 'This network')
        import_module('spandrel_extra_arches').install(ignore_duplicates=True)
    supports = spandrel.MAIN_REGISTRY.architectures('detection')
    return {item.architecture.id: item.architecture for item in supports if item.architecture.id != OURS}


def _as_known(architecture: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The weights under names by which the architecture detects them; None where it does not."""
    for prefix in ('', 'model.'):  # which old files of ESRGAN have, and we take for an entry of the file
        named = {prefix + name: value for name, value in state.items()}
        try:
            if architecture.detect(named):
                return named
        except Exception:  # it is asked about weights of any shape
            continue
    return None
