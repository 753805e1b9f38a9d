"""The options of the network SST, `network_g`: what its constructor takes and an option file holds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BeforeValidator, Field, Tag, ValidationError, WithJsonSchema, model_validator

from sst.options.faults import Fault, fault, faults_of, options_error, refuse, shown
from sst.options.section import Section, by_type, only

Backend = Literal['auto', 'reference', 'sdpa', 'native', 'flash', 'fused']
BACKENDS: tuple[str, ...] = get_args(Backend)

WINDOWS = (8, 16, 32, 16, 32, 64)  # SST-light

Value = TypeVar('Value')
Positive = Annotated[int, Field(ge=1)]
# A typing error must not build networks for minutes: the limits lie far beyond any use.
MOST_CHANNELS = 8192
LARGEST_WINDOW = 1024
Hidden = Annotated[int, Field(ge=1, le=65536)]


def _from_list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _from_list_or_number(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise fault(f'{shown(value)}, allowed is a positive integer or a list with one per window')
    return tuple(value)


LIST: dict[str, Any] = {'type': 'array', 'items': {'type': 'integer', 'minimum': 1}, 'minItems': 1}
WINDOW_LIST = LIST | {'items': {'type': 'integer', 'minimum': 1, 'maximum': LARGEST_WINDOW}}
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LARGEST_WINDOW)], ...],
    Field(min_length=1),
    BeforeValidator(_from_list),
    WithJsonSchema(WINDOW_LIST),
]
# In the file one number or a list; after parsing a tuple with one number per layer.
PerLayer = Annotated[
    tuple[Positive, ...],
    BeforeValidator(_from_list_or_number),
    WithJsonSchema({'anyOf': [{'type': 'integer', 'minimum': 1}, LIST]}),
]


class RIB(Section):
    """Rank-factorised implicit bias."""

    type: Literal['RIB'] = 'RIB'
    ranks: PerLayer = Field(description='rank of the bias: one number, or a list with one per layer of a block')
    hidden: Hidden = Field(default=32, description='hidden channels of the coordinate network')
    # float32 holds no 2^128
    bands: int = Field(default=10, ge=1, le=100, description='frequencies of the Fourier embedding')


class SIREN(Section):
    """RIB with a sine network in place of the Fourier embedding."""

    type: Literal['SIREN']
    ranks: PerLayer = Field(description='rank of the bias: one number, or a list with one per layer of a block')
    hidden: Hidden = Field(default=32, description='hidden channels of the coordinate network')


class FlashBias(Section):
    """Learnt factors per token."""

    type: Literal['FlashBias']
    ranks: PerLayer = Field(description='rank of the bias: one number, or a list with one per layer of a block')


class RPB(Section):
    """Table of relative positions."""

    type: Literal['RPB']


class RoPE(Section):
    """Rotary embedding with learnt frequencies."""

    type: Literal['RoPE']


class CPE(Section):
    """Depthwise convolution before the layer."""

    type: Literal['CPE']


class NoBias(Section):
    """No positional bias."""

    type: Literal['none']


Bias = Annotated[
    Annotated[RIB, Tag('<RIB>')]
    | Annotated[SIREN, Tag('<SIREN>')]
    | Annotated[FlashBias, Tag('<FlashBias>')]
    | Annotated[RPB, Tag('<RPB>')]
    | Annotated[RoPE, Tag('<RoPE>')]
    | Annotated[CPE, Tag('<CPE>')]
    | Annotated[NoBias, Tag('<none>')],
    by_type(),
]


class PixelShuffleDirect(Section):
    """One convolution and pixel shuffle (the light models)."""

    type: Literal['pixelshuffle_direct'] = 'pixelshuffle_direct'


class PixelShuffle(Section):
    """Convolutions around a pixel shuffle."""

    type: Literal['pixelshuffle']
    channels: int = Field(ge=1, le=MOST_CHANNELS, description='channels between the convolutions')


class NearestConv(Section):
    """Nearest enlargement and convolutions."""

    type: Literal['nearest_conv']
    channels: int = Field(ge=1, le=MOST_CHANNELS, description='channels between the convolutions')


Upsampler = Annotated[
    Annotated[PixelShuffleDirect, Tag('<pixelshuffle_direct>')]
    | Annotated[PixelShuffle, Tag('<pixelshuffle>')]
    | Annotated[NearestConv, Tag('<nearest_conv>')],
    by_type(),
]


class SSTNetwork(Section):
    """Options of the network SST; the defaults are SST-light at x2.

    After parsing `window_sizes`, `num_heads` and `bias.ranks` are tuples with one entry per layer of a block.
    """

    type: Literal['SST'] = Field(default='SST', description='the network SST')
    scale: Annotated[Literal[2, 3, 4], only(2, 3, 4)] = Field(default=2, description='enlargement')
    dim: int = Field(default=48, ge=1, le=MOST_CHANNELS, description='channels of the maps')
    num_blocks: int = Field(default=5, ge=1, le=1000, description='number of blocks')
    window_sizes: Sizes = Field(default=WINDOWS, description='window size in pixels of each layer of a block')
    num_heads: PerLayer = Field(
        default=(3,) * 6, description='heads: one number, or a list with one per layer of a block'
    )
    ffn_expansion: float = Field(
        default=1.5, gt=0, le=64, description='hidden channels of the ConvFFN, in multiples of dim'
    )
    bias: Bias = Field(default=RIB(ranks=(16, 16, 16, 24, 24, 24)), description='positional bias of the attention')
    gate: Literal['CLA', 'pointwise', 'none'] = Field(default='CLA', description='gate on the output of the attention')
    upsampler: Upsampler = Field(default=PixelShuffleDirect(), description='from features to the enlarged picture')
    backend: Backend = Field(default='auto', description='who computes the attention; auto takes the fastest that can')
    attention_dtype: Literal['auto', 'float32', 'float16', 'bfloat16'] = Field(
        default='auto',
        description='number format of the attention; auto: float32 on the CPU, half precision on a GPU',
    )

    @classmethod
    def parse(cls, options: Mapping, where: str = 'network_g') -> Self:
        """Check options of the network.

        Args:
            options (Mapping): the fields, `type` may be left out.
            where (str): what the error lines put before the keys.

        Raises:
            OptionsError: one line per fault.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise options_error(faults_of(error, cls), lambda place: f'{where}.' if place else where) from None

    @model_validator(mode='before')
    @classmethod
    def _one_per_layer(cls, options: Any) -> Any:
        """Repeat single numbers of heads and ranks once per layer."""
        if not isinstance(options, Mapping):
            return options
        windows = options.get('window_sizes', WINDOWS)
        layers = len(windows) if isinstance(windows, (list, tuple)) else 1
        options = {**options, 'num_heads': _repeated(options.get('num_heads', 3), layers)}
        bias = options.get('bias')
        if isinstance(bias, Mapping) and 'ranks' in bias:
            options['bias'] = {**bias, 'ranks': _repeated(bias['ranks'], layers)}
        return options

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        refuse([*self._lengths(), *self._divisions()])
        return self

    def _lengths(self) -> list[Fault]:
        layers = len(self.window_sizes)
        lists = {('num_heads',): self.num_heads, ('bias', 'ranks'): getattr(self.bias, 'ranks', (0,) * layers)}
        allowed = f'allowed is one number or a list of {layers}, one for each of window_sizes {list(self.window_sizes)}'
        return [
            (place, f'{list(values)} has {len(values)} entries, {allowed}')
            for place, values in lists.items()
            if len(values) != layers
        ]

    def _divisions(self) -> list[Fault]:
        wrong = {heads: index for index, heads in enumerate(self.num_heads) if self.dim % heads}
        alike = len(set(self.num_heads)) == 1
        divisors = ', '.join(str(heads) for heads in range(1, min(self.dim, 64) + 1) if self.dim % heads == 0)
        faults: list[Fault] = [
            (
                ('num_heads',) if alike else ('num_heads', index),
                f'{heads} does not divide dim {self.dim}, allowed: {divisors}',
            )
            for heads, index in wrong.items()
        ]
        if int(self.dim * self.ffn_expansion) < 1:
            text = f'{self.ffn_expansion}, allowed with dim {self.dim} is at least {1 / self.dim:.3g}'
            faults.append((('ffn_expansion',), text))
        return faults


def _repeated(value: Any, layers: int) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return (value,) * layers if whole else value
