"""Rivals that spandrel has, registered under their published names: HAT, ATD, DAT, RGT, DRCT, OmniSR and SRFormer.

spandrel is an optional package, `pip install 'sst-sr[spandrel]'`, and its import takes more than a second. So it is
imported when one of these networks is built or its options are checked. SRFormer stands in spandrel_extra_arches,
`pip install 'sst-sr[spandrel-extra]'`. That package is MIT, but says that the networks in it have licences of their
own, some for non-commercial use only: read SRFormer's before you use it for a product.

SwinIR, EDSR and RCAN are BasicSR's. The published sizes of all are in options/_base_/models.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal

from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from sst.utils.optional import require

EXTRAS = {'spandrel': 'spandrel', 'spandrel_extra_arches': 'spandrel-extra'}
ONE_OR_THREE = Literal['1conv', '3conv']
ONE_OR_NONE = Literal['1conv', 'identity']
ANY_UPSAMPLER = Literal['pixelshuffle', 'pixelshuffledirect', 'nearest+conv', '']


class SpandrelNetwork:
    """A network of spandrel: called with the published options, it builds the network.

    Its signature is that of spandrel's class, without arguments that are classes (`norm_layer`, `act_layer`).

    Args:
        place (str): module and name of the class.
        choices (Any): the values that arguments take where spandrel does not tell, as `Literal`.
    """

    def __init__(self, place: str, **choices: Any) -> None:
        self.place, _, self.__name__ = place.rpartition('.')
        self.choices: Mapping[str, Any] = choices
        self.__doc__ = f'{self.__name__}, built by {self.place.partition(".")[0]}.'
        self.__module__ = self.place  # it is not ours, so the schema of option files names it without its keys

    def __call__(self, **options: Any) -> nn.Module:
        return self._class()(**options)

    @property
    def __signature__(self) -> inspect.Signature:
        found = inspect.signature(self._class(), eval_str=True).parameters.values()
        return inspect.Signature(
            [
                item.replace(annotation=self.choices.get(item.name, item.annotation))
                for item in found
                if not inspect.isclass(item.default)  # nor `inspect.Parameter.empty`: each argument has a default
            ]
        )

    def _class(self) -> type[nn.Module]:
        """spandrel's class. Raises UserError where a package is missing."""
        needed = dict.fromkeys(['spandrel', self.place.partition('.')[0]])
        for package in needed:
            require(package, '__version__', EXTRAS[self.place.partition('.')[0]], self.__name__)
        return getattr(import_module(self.place), self.__name__)


for network in (
    SpandrelNetwork('spandrel.architectures.HAT.__arch.HAT.HAT', resi_connection=ONE_OR_NONE),
    SpandrelNetwork(
        'spandrel.architectures.ATD.__arch.atd_arch.ATD', upsampler=ANY_UPSAMPLER, resi_connection=ONE_OR_THREE
    ),
    SpandrelNetwork(
        'spandrel.architectures.DAT.__arch.DAT.DAT',
        upsampler=Literal['pixelshuffle', 'pixelshuffledirect'],
        resi_connection=ONE_OR_THREE,
    ),
    SpandrelNetwork('spandrel.architectures.RGT.__arch.rgt.RGT', resi_connection=ONE_OR_THREE),
    SpandrelNetwork(
        'spandrel.architectures.DRCT.__arch.drct_arch.DRCT',
        upsampler=Literal['pixelshuffle'],
        resi_connection=ONE_OR_NONE,
    ),
    SpandrelNetwork('spandrel.architectures.OmniSR.__arch.OmniSR.OmniSR'),
    SpandrelNetwork(
        'spandrel_extra_arches.architectures.SRFormer.__arch.SRFormer.SRFormer',
        upsampler=ANY_UPSAMPLER,
        resi_connection=ONE_OR_THREE,
    ),
):
    ARCH_REGISTRY.register(network)
