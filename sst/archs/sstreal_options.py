"""The options of the network SSTReal: the arguments of its constructor, and `network_g` of an option file."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from sst.archs.bias.base import PerLayer
from sst.archs.layers import MOST_CHANNELS
from sst.archs.sst_options import AttentionOptions, Sizes
from sst.options.faults import Fault, refuse
from sst.options.parts import part_of
from sst.options.registries import BIASES, GATES
from sst.options.section import only

MOST_GUIDANCE = 10.0
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]


class SSTRealOptions(AttentionOptions):
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


def recognise(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The options that the shapes of an SSTReal's weights show, by our names; None for weights of another network.

    No shape shows the windows. They are the released ones if everything else is as released; otherwise, and if the
    bias has another form, `window_sizes` is left out. The kind of bias is told by the bias itself.
    """
    try:
        return _recognised(state)
    except (LookupError, ValueError):  # a name or a dimension that an SSTReal has
        return None


def _recognised(state: Mapping[str, Tensor]) -> dict[str, Any]:
    embedding, noise = state['noise_embedding.first.weight'].shape
    blocks = {int(match[1]) for name in state if (match := re.match(r'blocks\.(\d+)\.gamma$', name))}
    layers = {int(match[1]) for name in state if (match := re.match(r'blocks\.0\.layers\.(\d+)\.', name))}
    first = 'blocks.0.layers.0.'
    dim, hidden = state['blocks.0.gamma'].shape[0], state[f'{first}ffn.project.weight'].shape[1]
    biases = [_below(state, f'blocks.0.layers.{layer}.attn.bias.') for layer in range(len(layers))]
    bias = BIASES.recognised(biases)
    found = {
        'dim': dim,
        'num_blocks': len(blocks),
        'num_heads': bias.pop('num_heads', None),
        'window_sizes': bias.pop('window_sizes', None),
        'ffn_expansion': _expansion(dim, hidden),
        'bias': bias,
        'gate': GATES.recognised(_below(state, f'{first}attn.gate.'))['type'],
        'upsampler_channels': state['last_upsampler.convs.0.weight'].shape[0],
        'noise_channels': noise,
        'embedding_channels': embedding,
        'lr_blocks': sum(bool(re.match(r'blocks\.\d+\.fuse\.weight$', name)) for name in state),
    }
    found = {key: value for key, value in found.items() if value is not None}
    released = SSTRealOptions().model_dump()
    if 'window_sizes' not in found and all(released[key] == value for key, value in found.items()):
        found['window_sizes'] = released['window_sizes']
    return found


def _expansion(dim: int, hidden: int) -> float:
    """An expansion that gives so many hidden channels."""
    candidates = ((1.5 * hidden + step) / dim for step in (0, 0.5, 1, 1.5))
    return next(value for value in candidates if ffn_hidden(dim, value) == hidden)


def _below(state: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
