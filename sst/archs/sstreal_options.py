"""The options of the network SSTReal: the arguments of its constructor, and `network_g` of an option file."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sst.archs.bias.base import PerLayer
from sst.archs.layers import MOST_CHANNELS
from sst.archs.sst_options import Sizes, WindowListOptions
from sst.options.faults import Fault, refuse
from sst.options.parts import part_of
from sst.options.registries import BIASES
from sst.options.section import only

MOST_GUIDANCE = 10.0
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]


class SSTRealOptions(WindowListOptions):
    """Options of the network SSTReal; the defaults are the released network."""

    least_hidden = 2

    type: Literal['SSTReal'] = Field(default='SSTReal', description='the network SSTReal')
    scale: Annotated[Literal[4], only(4)] = Field(default=4, description='enlargement')
    dim: int = Field(default=192, ge=1, le=MOST_CHANNELS, description='channels of the maps')
    num_blocks: int = Field(default=14, ge=1, le=1000, description='number of blocks')
    window_sizes: Sizes = Field(
        default=(16, 32, 64, 16, 32, 64), description='window size in pixels of each layer of a block'
    )
    num_heads: PerLayer = Field(
        default=(6,) * 6, description='heads: one number, or a list with one per layer of a block'
    )
    ffn_expansion: float = Field(
        default=3.0, gt=0, le=64, description='hidden channels of the gated FFN, in multiples of 2/3 of dim'
    )
    bias: Annotated[Any, part_of(BIASES)] = Field(
        default={'type': 'RIB', 'ranks': [16, 16, 16, 32, 32, 32]},
        validate_default=True,
        description='positional bias of the attention',
    )
    upsampler_channels: Channels = Field(default=96, description='channels between the convolutions of the upsamplers')
    noise_channels: Channels = Field(default=192, description='channels of the embedding of sigma')
    embedding_channels: Channels = Field(default=768, description='channels that modulate the blocks')
    lr_blocks: int = Field(default=7, ge=0, description='how many blocks, from the first, read the LR image')
    middle_block: int = Field(
        default=6, ge=0, description='the block, counted from 0, after which the middle output is taken'
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description='dropout in the FFN, in training only')
    sigma_data: float = Field(default=0.5, gt=0, le=100, description='standard deviation of the images in [-1, 1]')
    skip: bool = Field(
        default=True,
        description='whether more of the noisy image passes through: sigma is divided by 0.1, else by 0.001',
    )
    guidance: float = Field(
        default=2.0,
        ge=0,
        le=MOST_GUIDANCE,
        description='0 gives the middle output, 1 the last, more goes on in this direction',
    )

    @model_validator(mode='after')
    def _blocks_exist(self) -> Self:
        faults: list[Fault] = []
        if self.lr_blocks > self.num_blocks:
            faults.append((('lr_blocks',), f'must be at most num_blocks {self.num_blocks}, not {self.lr_blocks}'))
        if self.middle_block >= self.num_blocks:
            text = f'must be less than num_blocks {self.num_blocks}, not {self.middle_block}'
            faults.append((('middle_block',), text))
        refuse(faults)
        return self


def ffn_hidden(dim: int, expansion: float) -> int:
    """Hidden channels of the gated FFN."""
    return int(int(dim * expansion) * 2 / 3)
