"""The interface of positional biases."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator, Field, WithJsonSchema
from torch import Tensor

from sst.ops import Rotation, Term
from sst.ops.weight_state import KeepsResults
from sst.options.faults import fault, shown
from sst.options.registries import BIASES
from sst.utils.precision import full_float32

WHOLE_NUMBERS: dict[str, Any] = {'type': 'array', 'items': {'type': 'integer', 'minimum': 1}, 'minItems': 1}


def _from_list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise fault(f'must be a positive integer or a list with one per window, not {shown(value)}')
    return tuple(value)


# An option file gives one number or a list. Parsing makes it a tuple with one number per layer of a block.
ONE_PER_LAYER = BeforeValidator(_from_list)
PerLayer = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    ONE_PER_LAYER,
    WithJsonSchema({'anyOf': [{'type': 'integer', 'minimum': 1}, WHOLE_NUMBERS]}),
]
Hidden = Annotated[int, Field(ge=1, le=65536, description='hidden channels of the coordinate network')]
Ranks = Annotated[PerLayer, Field(description='rank of the bias: one number, or a list with one per layer of a block')]


class Released:
    """The names that the released SST files use for a bias, a gate or an upsampler.

    Args:
        types: values of the released option that mean this part.
        fields (Mapping): from the names of released options to our names.
        names (Mapping): from the released names of parameters within a layer to our names within this part.
    """

    def __init__(
        self, *types: str | None, fields: Mapping[str, str] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        self.types, self.fields, self.names = types, fields or {}, names or {}


@BIASES.register('none')
class PositionalBias(KeepsResults):
    """Tells the attention of one layer where its tokens are. This base class does nothing.

    A bias may act on the features, on q and k, or on the logits; a subclass overrides `features`, `rotation` or `term`.
    Its constructor takes the options of the bias, and those of `window` (pixels), `num_heads` and `dim` that it names.
    """

    released: ClassVar[Released] = Released('NoPE')

    @classmethod
    def of_layer(cls, options: Mapping[str, Any], index: int) -> dict[str, Any]:
        """The options of the layer with that index in its block; by default they are the same for all layers."""
        return dict(options)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Any] | None:
        """Infer options of the bias, and `num_heads` and `window_sizes` of the network, from the shapes of parameters.

        Args:
            layers: the parameters of the bias in each layer of a block, by name.

        Returns:
            dict | None: None if they are not parameters of this bias, or if nothing can be inferred.
        """
        return None

    def features(self, x: Tensor) -> Tensor:
        """Act on the layer's input, a map (B, H, W, C), before its first LayerNorm."""
        return x

    def rotation(self) -> Rotation | None:
        """Act on q and k."""
        return None

    def term(self) -> Term | None:
        """Act on the logits."""
        return None

    def tables(self) -> tuple[Term | None, Rotation | None]:
        """`term()` and `rotation()`, which depend on weights alone and are kept as `KeepsResults` says."""
        return self.kept(lambda: list(self.parameters()), self._computed)

    def _computed(self) -> tuple[Term | None, Rotation | None]:
        if torch.compiler.is_compiling():
            return self.term(), self.rotation()
        with full_float32():
            return self.term(), self.rotation()


def window_coordinates(window: int, device: torch.device) -> Tensor:
    """Centres of a window's pixels, (N, 2) with x first, in (-1, 1): 2 (x + 0.5) / w - 1."""
    axis = 2 * (torch.arange(window, device=device, dtype=torch.float32) + 0.5) / window - 1
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), dim=-1)
