"""The options of the network ESCRIB: the arguments of its constructor, and `network_g` of an option file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sst.archs.layers import MOST_CHANNELS
from sst.archs.window_options import (
    LARGEST_WINDOW,
    WindowNetworkOptions,
    heads_fault,
    options_per_layer,
    with_bias_per_layer,
)
from sst.options.faults import Fault, refuse
from sst.options.parts import part_of
from sst.options.registries import BIASES


class ESCRIBOptions(WindowNetworkOptions):
    """Options of the network ESCRIB; the defaults are the published ESC-RIB at x2."""

    type: Literal['ESCRIB'] = Field(default='ESCRIB', description='the network ESCRIB')
    dim: int = Field(default=64, ge=1, le=MOST_CHANNELS, description='channels of the maps')
    ffn_expansion: float = Field(
        default=1.25,
        gt=0,
        le=64,
        description='hidden channels of the ConvFFN before each convolution, in multiples of dim',
    )
    bias: Annotated[Any, part_of(BIASES)] = Field(
        default={'type': 'RIB', 'ranks': [16]},
        validate_default=True,
        description='positional bias of the attention',
    )
    pdim: int = Field(default=16, ge=2, le=MOST_CHANNELS, description='channels that the large kernel sees')
    kernel_size: int = Field(default=13, ge=1, le=255, description='side of the large kernel in pixels, odd')
    conv_blocks: int = Field(default=5, ge=1, le=1000, description='convolutions with the large kernel in a block')
    window_size: int = Field(default=64, ge=1, le=LARGEST_WINDOW, description='window size in pixels')
    num_heads: int = Field(default=4, ge=1, description='heads of the attention')
    use_ln: bool = Field(default=False, description='whether a LayerNorm comes before the ConvFFN of each convolution')
    pad_to_window: bool = Field(
        default=True,
        description='whether images are extended to whole windows before the network enlarges them, as published; '
        'training and the network itself never do it',
    )

    @model_validator(mode='before')
    @classmethod
    def _one_per_layer(cls, options: Any) -> Any:
        """A block has one attention, so a list of its bias has one entry."""
        return with_bias_per_layer(options, 1) if isinstance(options, Mapping) else options

    @model_validator(mode='after')
    def _fields_agree(self) -> Self:
        faults: list[Fault] = self.ffn_faults()
        if text := heads_fault(self.num_heads, self.dim):
            faults.append((('num_heads',), text))
        if self.pdim > self.dim:
            faults.append((('pdim',), f'must be 2 to dim ({self.dim}), not {self.pdim}'))
        if self.kernel_size % 2 == 0:
            near = f'{self.kernel_size - 1} or {self.kernel_size + 1}'
            faults.append((('kernel_size',), f'must be odd, such as {near}, not {self.kernel_size}'))
        for key in options_per_layer(dict(self.bias)):
            values = getattr(self.bias, key)
            if len(values) != 1:
                text = f'{list(values)} has {len(values)} entries; a block has one attention, so give one number'
                faults.append((('bias', key), text))
        refuse(faults)
        return self
