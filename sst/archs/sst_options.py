"""The options of the network SST: the arguments of its constructor, and `network_g` of an option file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sst.archs.bias.base import WHOLE_NUMBERS, PerLayer
from sst.archs.layers import MOST_CHANNELS
from sst.archs.window_options import (
    LARGEST_WINDOW,
    AttentionOptions,
    WindowNetworkOptions,
    heads_fault,
    options_per_layer,
    repeated,
    with_bias_per_layer,
)
from sst.options.faults import Fault, refuse
from sst.options.parts import part_of
from sst.options.registries import BIASES

WINDOWS = (8, 16, 32, 16, 32, 64)  # SST-light
WINDOW_LIST = WHOLE_NUMBERS | {'items': {'type': 'integer', 'minimum': 1, 'maximum': LARGEST_WINDOW}}
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LARGEST_WINDOW)], ...],
    Field(min_length=1),
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    WithJsonSchema(WINDOW_LIST),
]


class WindowListOptions(AttentionOptions):
    """Options of blocks whose layers have windows of their own.

    After parsing `window_sizes`, `num_heads` and `bias.ranks` are tuples with one entry per layer of a block.
    """

    window_sizes: Sizes = Field(default=WINDOWS, description='window size in pixels of each layer of a block')
    num_heads: PerLayer = Field(
        default=(3,) * 6, description='heads: one number, or a list with one per layer of a block'
    )

    @model_validator(mode='before')
    @classmethod
    def _one_per_layer(cls, options: Any) -> Any:
        """Repeat single numbers once per layer."""
        if not isinstance(options, Mapping):
            return options
        windows = options.get('window_sizes', cls.model_fields['window_sizes'].default)
        layers = len(windows) if isinstance(windows, (list, tuple)) else 1
        heads = repeated(options.get('num_heads', cls.model_fields['num_heads'].default[0]), layers)
        return with_bias_per_layer({**options, 'num_heads': heads}, layers)

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        refuse([*self._lengths(), *self._heads(), *self.ffn_faults()])
        return self

    def _lengths(self) -> list[Fault]:
        layers = len(self.window_sizes)
        lists: dict[tuple[str, ...], Any] = {('num_heads',): self.num_heads}
        lists |= {('bias', key): getattr(self.bias, key) for key in options_per_layer(dict(self.bias))}
        allowed = f'give one number or a list of {layers}, one for each of window_sizes {list(self.window_sizes)}'
        return [
            (place, f'{list(values)} has {len(values)} entries; {allowed}')
            for place, values in lists.items()
            if len(values) != layers
        ]

    def _heads(self) -> list[Fault]:
        wrong = {heads: index for index, heads in enumerate(self.num_heads) if self.dim % heads}
        alike = len(set(self.num_heads)) == 1
        return [
            (('num_heads',) if alike else ('num_heads', index), heads_fault(heads, self.dim))
            for heads, index in wrong.items()
        ]


class SSTOptions(WindowNetworkOptions, WindowListOptions):
    """Options of the network SST; the defaults are SST-light at x2."""

    type: Literal['SST'] = Field(default='SST', description='the network SST')
    dim: int = Field(default=48, ge=1, le=MOST_CHANNELS, description='channels of the maps')
    ffn_expansion: float = Field(
        default=1.5, gt=0, le=64, description='hidden channels of the ConvFFN, in multiples of dim'
    )
    bias: Annotated[Any, part_of(BIASES)] = Field(
        default={'type': 'RIB', 'ranks': [16, 16, 16, 24, 24, 24]},
        validate_default=True,
        description='positional bias of the attention',
    )
