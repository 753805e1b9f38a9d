"""The options of the network SST: the arguments of its constructor, and `network_g` of an option file.

`AttentionOptions` is what networks of window attention share; its defaults are those of SST-light.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from sst.archs.bias.base import ONE_PER_LAYER, WHOLE_NUMBERS, PerLayer
from sst.archs.layers import MOST_CHANNELS
from sst.options.faults import Fault, faults_of, options_error, refuse
from sst.options.parts import PartOptions, part_of
from sst.options.registries import BIASES, GATES, UPSAMPLERS
from sst.options.section import Section, only

Backend = Literal['auto', 'reference', 'sdpa', 'native', 'flash', 'fused', 'flex']
BACKENDS: tuple[str, ...] = get_args(Backend)

WINDOWS = (8, 16, 32, 16, 32, 64)  # SST-light
LARGEST_WINDOW = 1024

Value = TypeVar('Value')
WINDOW_LIST = WHOLE_NUMBERS | {'items': {'type': 'integer', 'minimum': 1, 'maximum': LARGEST_WINDOW}}
Sizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=LARGEST_WINDOW)], ...],
    Field(min_length=1),
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    WithJsonSchema(WINDOW_LIST),
]


class AttentionOptions(PartOptions):
    """Options of blocks whose layers have window attention.

    After parsing `window_sizes`, `num_heads` and `bias.ranks` are tuples with one entry per layer of a block.
    """

    least_hidden: ClassVar[int] = 1  # of dim * ffn_expansion
    scale: int = Field(default=2, description='enlargement')
    dim: int = Field(default=48, ge=1, le=MOST_CHANNELS, description='channels of the maps')
    num_blocks: int = Field(default=5, ge=1, le=1000, description='number of blocks')
    window_sizes: Sizes = Field(default=WINDOWS, description='window size in pixels of each layer of a block')
    num_heads: PerLayer = Field(
        default=(3,) * 6, description='heads: one number, or a list with one per layer of a block'
    )
    ffn_expansion: float = Field(
        default=1.5, gt=0, le=64, description='hidden channels of the ConvFFN, in multiples of dim'
    )
    bias: Annotated[Any, part_of(BIASES)] = Field(
        default={'type': 'RIB', 'ranks': [16, 16, 16, 24, 24, 24]},
        validate_default=True,
        description='positional bias of the attention',
    )
    gate: Annotated[Any, part_of(GATES, plain=True)] = Field(
        default='CLA', description='gate on the output of the attention'
    )
    backend: Backend = Field(default='auto', description='how the attention is computed; auto takes the fastest way')
    attention_dtype: Literal['auto', 'float32', 'float16', 'bfloat16'] = Field(
        default='auto',
        description='number format of the attention; auto: float32 on the CPU, half precision on a GPU',
    )

    @classmethod
    def parse(cls, options: Mapping, where: str = 'network_g') -> Self:
        """Check options of the network.

        Args:
            options (Mapping): the fields; `type` may be left out.
            where (str): the section that errors name before a key.

        Raises:
            OptionsError: the options are wrong; one line for each fault.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise options_error(faults_of(error, cls), lambda place: f'{where}.' if place else where) from None

    @model_validator(mode='before')
    @classmethod
    def _one_per_layer(cls, options: Any) -> Any:
        """Repeat single numbers once per layer."""
        if not isinstance(options, Mapping):
            return options
        windows = options.get('window_sizes', cls.model_fields['window_sizes'].default)
        layers = len(windows) if isinstance(windows, (list, tuple)) else 1
        heads = options.get('num_heads', cls.model_fields['num_heads'].default[0])
        options = {**options, 'num_heads': _repeated(heads, layers)}
        bias = options.get('bias')
        if isinstance(bias, Mapping):
            options['bias'] = {**bias, **{key: _repeated(bias[key], layers) for key in _per_layer(bias) if key in bias}}
        return options

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        refuse([*self._lengths(), *self._divisions()])
        return self

    def _lengths(self) -> list[Fault]:
        layers = len(self.window_sizes)
        lists: dict[tuple[str, ...], Any] = {('num_heads',): self.num_heads}
        lists |= {('bias', key): getattr(self.bias, key) for key in _per_layer(dict(self.bias))}
        allowed = f'give one number or a list of {layers}, one for each of window_sizes {list(self.window_sizes)}'
        return [
            (place, f'{list(values)} has {len(values)} entries; {allowed}')
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
                f'{heads} does not divide dim {self.dim}; use one of {divisors}',
            )
            for heads, index in wrong.items()
        ]
        if int(self.dim * self.ffn_expansion) < self.least_hidden:
            least = self.least_hidden / self.dim
            faults.append(
                (('ffn_expansion',), f'must be at least {least:.3g} with dim {self.dim}, not {self.ffn_expansion}')
            )
        return faults


class SSTOptions(AttentionOptions):
    """Options of the network SST; the defaults are SST-light at x2."""

    type: Literal['SST'] = Field(default='SST', description='the network SST')
    scale: Annotated[Literal[2, 3, 4], only(2, 3, 4)] = Field(default=2, description='enlargement')
    upsampler: Annotated[Any, part_of(UPSAMPLERS)] = Field(
        default={'type': 'pixelshuffle_direct'},
        validate_default=True,
        description='from the features to the enlarged image',
    )


def _per_layer(bias: Mapping[str, Any]) -> list[str]:
    """The options of a bias that have one entry per layer of a block."""
    kind = bias.get('type')
    section: type[Section] = BIASES.section(kind) if isinstance(kind, str) and kind in BIASES else Section
    return [key for key, field in section.model_fields.items() if ONE_PER_LAYER in field.metadata]


def _repeated(value: Any, layers: int) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return (value,) * layers if whole else value
