"""The options that our networks of window attention share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, ValidationError

from sst.archs.bias.base import ONE_PER_LAYER
from sst.archs.layers import MOST_CHANNELS
from sst.options.faults import Fault, faults_of, options_error
from sst.options.parts import PartOptions, part_of
from sst.options.registries import BIASES, GATES, UPSAMPLERS
from sst.options.section import Section, only

Backend = Literal['auto', 'reference', 'sdpa', 'native', 'flash', 'fused', 'flex']
BACKENDS: tuple[str, ...] = get_args(Backend)
LARGEST_WINDOW = 1024


class AttentionOptions(PartOptions):
    """Options of blocks with window attention."""

    least_hidden: ClassVar[int] = 1  # of dim * ffn_expansion
    scale: int = Field(default=2, description='enlargement')
    dim: int = Field(ge=1, le=MOST_CHANNELS, description='channels of the maps')
    num_blocks: int = Field(default=5, ge=1, le=1000, description='number of blocks')
    ffn_expansion: float = Field(gt=0, le=64, description='hidden channels of the ConvFFN, in multiples of dim')
    bias: Annotated[Any, part_of(BIASES)] = Field(description='positional bias of the attention')
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

    def ffn_faults(self) -> list[Fault]:
        """A fault if the FFN would have no channels."""
        if int(self.dim * self.ffn_expansion) >= self.least_hidden:
            return []
        text = f'must be at least {self.least_hidden / self.dim:.3g} with dim {self.dim}, not {self.ffn_expansion}'
        return [(('ffn_expansion',), text)]


class WindowNetworkOptions(AttentionOptions):
    """Options of a network of window attention from LR to SR images."""

    scale: Annotated[Literal[2, 3, 4], only(2, 3, 4)] = Field(default=2, description='enlargement')
    upsampler: Annotated[Any, part_of(UPSAMPLERS)] = Field(
        default={'type': 'pixelshuffle_direct'},
        validate_default=True,
        description='from the features to the enlarged image',
    )


def windows_of(network: Mapping[str, Any]) -> tuple[int, ...]:
    """Sides of the windows of a block's layers, in pixels, from the options of a network of window attention."""
    return tuple(network.get('window_sizes') or [network['window_size']])


def heads_fault(heads: int, dim: int) -> str:
    """What is wrong with a number of heads that does not divide `dim`; '' if it does."""
    if dim % heads == 0:
        return ''
    divisors = ', '.join(str(number) for number in range(1, min(dim, 64) + 1) if dim % number == 0)
    return f'{heads} does not divide dim {dim}; use one of {divisors}'


def with_bias_per_layer(options: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """Options of a network in which the bias has one entry per layer where one number was given."""
    bias = options.get('bias')
    if not isinstance(bias, Mapping):
        return dict(options)
    lists = {key: repeated(bias[key], layers) for key in options_per_layer(bias) if key in bias}
    return {**options, 'bias': {**bias, **lists}}


def options_per_layer(bias: Mapping[str, Any]) -> list[str]:
    """The options of a bias that have one entry per layer of a block."""
    kind = bias.get('type')
    section: type[Section] = BIASES.section(kind) if isinstance(kind, str) and kind in BIASES else Section
    return [key for key, field in section.model_fields.items() if ONE_PER_LAYER in field.metadata]


def repeated(value: Any, layers: int) -> Any:
    """A positive integer once per layer; other values as they are."""
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return (value,) * layers if whole else value
