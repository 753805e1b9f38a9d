"""SST for spandrel, the library that chaiNNer, ComfyUI and others use to load models.

    from sst.interop.spandrel import install
    install()
    model = spandrel.ModelLoader().load_from_file('SST-tiny-x2.safetensors')

spandrel passes on only the weights, and their shapes do not show the windows. Files of `sst.save_pretrained` contain
them in a small tensor. For other files, such as released ones, give them to `SSTArch(window_sizes=...)`.
"""

from typing import Any

from torch import Tensor

from sst.archs import SST
from sst.checkpoints.facts import facts, plain
from sst.checkpoints.networks import build
from sst.checkpoints.pretrained import MissingOptionsError, network_in
from sst.checkpoints.published import published_names
from sst.checkpoints.weights import weights_in
from sst.utils.errors import UserError
from sst.utils.optional import require

try:
    require('spandrel', 'MAIN_REGISTRY', 'spandrel', 'sst.interop.spandrel')
except UserError as error:
    raise ImportError(str(error)) from error
import spandrel

THE_STATE_DICT = 'the weights'


class SSTArch(spandrel.Architecture[SST]):
    """The SST architecture.

    Args:
        **network_g: options that a file does not contain, as for `sst.from_pretrained`: `window_sizes`, ...
    """

    def __init__(self, **network_g: Any) -> None:
        super().__init__(id='SST', detect=is_sst)
        self._network_g = network_g

    def load(self, state_dict: dict[str, Tensor]) -> spandrel.ImageModelDescriptor[SST]:
        """Build the network with these weights, ready to enlarge images of any size.

        Raises:
            MissingOptionsError: the windows (or, for ablations, the heads or the scale) are not known.
            UserError: the weights are not those of an SST, or contradict the options.
        """
        weights = weights_in(dict(state_dict), THE_STATE_DICT)
        try:
            network = network_in(weights, THE_STATE_DICT, self._network_g)
        except MissingOptionsError as fault:
            raise MissingOptionsError(
                fault.fault,
                fault.missing,
                ', to sst.interop.spandrel.SSTArch(...).load(state_dict); or write them into the file once: '
                'sst.save_pretrained(sst.from_pretrained(FILE, window_sizes=...), NEW_FILE)',
            ) from fault
        net = build(network, weights, THE_STATE_DICT)
        names = published_names(network)
        tags = [*names[:1], f'{network["dim"]}dim', f'windows {plain(tuple(network["window_sizes"]))}']
        return spandrel.ImageModelDescriptor(
            net,
            net.state_dict(),
            architecture=self,
            purpose='SR',
            tags=tags,
            supports_half=True,
            supports_bfloat16=True,
            scale=network['scale'],
            input_channels=3,
            output_channels=3,
        )


def install(*, ignore_duplicates: bool = False) -> list[spandrel.ArchSupport]:
    """Teach spandrel's main registry, which every `ModelLoader` uses, to load SST.

    Args:
        ignore_duplicates (bool): do nothing if the registry already knows SST, instead of raising spandrel's
            DuplicateArchitectureError.
    """
    support = spandrel.ArchSupport.from_architecture(SSTArch())
    return spandrel.MAIN_REGISTRY.add(support, ignore_duplicates=ignore_duplicates)


def is_sst(state_dict: dict[str, Tensor]) -> bool:
    """Whether these are the weights of an SST, under our names or the released ones."""
    try:
        found = facts(weights_in(dict(state_dict), THE_STATE_DICT).state)
    except UserError:  # of another network
        return False
    return found is not None and found.type == 'SST'
