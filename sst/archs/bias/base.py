"""The one interface of positional biases."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BeforeValidator, Field, WithJsonSchema
from torch import Tensor, nn

from sst.ops import Rotation, Term
from sst.options.faults import fault, shown
from sst.options.registries import BIASES

WHOLE_NUMBERS: dict[str, Any] = {'type': 'array', 'items': {'type': 'integer', 'minimum': 1}, 'minItems': 1}


def _from_list(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise fault(f'must be a positive integer or a list with one per window, not {shown(value)}')
    return tuple(value)


# In the file one number or a list; after parsing a tuple with one number per layer of a block.
ONE_PER_LAYER = BeforeValidator(_from_list)
PerLayer = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    ONE_PER_LAYER,
    WithJsonSchema({'anyOf': [{'type': 'integer', 'minimum': 1}, WHOLE_NUMBERS]}),
]
Hidden = Annotated[int, Field(ge=1, le=65536, description='hidden channels of the coordinate network')]
Ranks = Annotated[PerLayer, Field(description='rank of the bias: one number, or a list with one per layer of a block')]


class Released:
    """What the released SST files call a bias, a gate or an upsampler.

    Args:
        types: values of the released option that mean this part.
        fields (Mapping): released options and what they are called here.
        names (Mapping): released names of parameters within a layer and what they are called here within this part.
    """

    def __init__(
        self, *types: str | None, fields: Mapping[str, str] | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        self.types, self.fields, self.names = types, fields or {}, names or {}


@BIASES.register('none')
class PositionalBias(nn.Module):
    """How a layer's attention learns where its tokens are. This one does nothing at all.

    A bias may act on the features, on q and k, or on the logits; a subclass overrides what it does. One object serves
    one layer. Its constructor takes the options of the bias and, of `window` (pixels), `num_heads` and `dim`, those
    that it names.
    """

    released: ClassVar[Released] = Released('NoPE')

    def __init__(self) -> None:
        super().__init__()
        self._cache: _Cache | None = None

    @classmethod
    def of_layer(cls, options: Mapping[str, Any], index: int) -> dict[str, Any]:
        """The options for the layer with that index in its block; by default all layers have the same."""
        return dict(options)

    @classmethod
    def recognise(cls, layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Any] | None:
        """The options that the shapes of this bias' parameters tell, `num_heads` and `window_sizes` of the network too.

        Args:
            layers: the parameters of the bias in each layer of a block, by their names.

        Returns:
            dict | None: None where they are not of this bias. A bias that cannot tell need not override this.
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
        """`term()` and `rotation()`, which depend on weights alone: kept while no gradient is asked for.

        They are computed anew when a weight was changed in place, loaded or replaced, after a pass with gradients (an
        optimiser may have followed), and after a change of mode, dtype or device. Only writing into `weight.data` in
        place goes unnoticed; call `eval()` afterwards.
        """
        if torch.compiler.is_compiling():
            return self.term(), self.rotation()
        if self.training or torch.is_grad_enabled() or any(p.is_inference() for p in self.parameters()):
            self._cache = None  # weights that are inference tensors count no versions: no change could be seen
            return self.term(), self.rotation()
        if self._cache is None or not self._cache.holds(self.parameters()):
            self._cache = _Cache(list(self.parameters()), (self.term(), self.rotation()))
        return self._cache.tables

    def train(self, mode: bool = True) -> 'PositionalBias':
        self._cache = None
        return super().train(mode)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'PositionalBias':
        self._cache = None  # half(), to(device) and the like
        return super()._apply(fn, recurse)


class _Cache:
    """Tables, and the weights they came from: kept alive, so that a new weight cannot have an old one's address."""

    def __init__(self, weights: list[Tensor], tables: tuple[Term | None, Rotation | None]) -> None:
        self.weights = [weight.detach() for weight in weights]
        self.versions = [weight._version for weight in weights]
        self.tables = tables

    def holds(self, weights: Iterable[Tensor]) -> bool:
        return all(
            weight.data_ptr() == old.data_ptr() and weight._version == version and weight.dtype == old.dtype
            for weight, old, version in zip(weights, self.weights, self.versions, strict=True)
        )


def window_coordinates(window: int, device: torch.device) -> Tensor:
    """Centres of a window's pixels, (N, 2) with x first, in (-1, 1): 2 (x + 0.5) / w - 1."""
    axis = 2 * (torch.arange(window, device=device, dtype=torch.float32) + 0.5) / window - 1
    y, x = torch.meshgrid(axis, axis, indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), dim=-1)
