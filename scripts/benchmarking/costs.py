"""What a pass of SST costs by formula: multiply-adds, and the time below which a machine cannot do it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sst.archs.sst_options import SSTOptions
from sst.utils.errors import UserError

TILE = 16  # matrix units work on multiples of 16 channels
TRAINING = 3  # a step in forward passes: the backward pass of a product is two products of its size


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of a forward pass of one picture."""

    dense: int  # convolutions and projections
    attention: int  # q k^T, the bias and the product with v
    tables: int  # RIB's factors, which outside training are kept

    @property
    def total(self) -> int:
        return self.dense + self.attention + self.tables


@dataclass(frozen=True)
class Ceilings:
    """What a machine reaches at best, each per second."""

    matmul: float  # FLOP of matrix products
    copy: float  # bytes, those read and those written
    exp: float  # exponentials
    number: int = 2  # bytes of a number


# Measured in half precision, but exp: 16 per clock and multiprocessor, times 132, times 1.98 GHz.
H200 = Ceilings(matmul=788e12, copy=4.3e12, exp=4.18e12)


@dataclass(frozen=True)
class Floor:
    """Seconds of each part of a pass at a machine's ceilings. Exponentials and products run beside each other, and so
    do copies and products; attention and the rest follow each other."""

    exp: float
    attention: float
    dense: float
    copy: float

    @property
    def total(self) -> float:
        return max(self.exp, self.attention) + max(self.copy, self.dense)


@dataclass(frozen=True)
class Layer:
    """The attention of one layer."""

    window: int
    heads: int
    head_dim: int
    rank: int
    table: int  # multiply-adds of RIB's factors


def parse(network: Mapping[str, Any]) -> SSTOptions:
    """The checked options of a network whose costs are known here.

    Raises:
        UserError: it is no SST with RIB and CLA, or the options are faulty.
    """
    if network.get('type', 'SST') != 'SST':
        raise UserError(f'network_g.type must be SST, not {network["type"]}')
    options = SSTOptions.parse(network)
    if options.bias.type != 'RIB' or options.gate != 'CLA' or len(set(options.window_sizes)) == 1:
        raise UserError(
            f'network_g: bias {options.bias.type}, gate {options.gate}, windows {list(options.window_sizes)}; '
            'allowed are bias RIB, gate CLA and windows of several sizes: ablations are not benchmarked'
        )
    return options


def multiply_adds(network: Mapping[str, Any], height: int, width: int, *, published: bool = False) -> MultiplyAdds:
    """Multiply-adds of a forward pass of one LR picture; windows that stick out of it count whole.

    Args:
        network (Mapping): `network_g`.
        height (int), width (int): of the LR picture, in pixels.
        published (bool): count as the paper does: v padded to the width of q and k, and q, k, v projected from the
            padded map.

    Raises:
        UserError: see `parse`.
    """
    options = parse(network)
    dim, hidden, pixels = options.dim, _hidden(options), height * width
    dense, attention, tables = _outside_layers(options) * pixels, 0, 0
    for layer in _layers(options):
        w, key = layer.window, layer.head_dim + layer.rank
        padded = (-(-height // w) * w) * (-(-width // w) * w)
        dense += 3 * dim**2 * (padded if published else pixels)
        dense += (2 * dim**2 + 9 * dim + 2 * dim * hidden + 9 * hidden) * pixels
        attention += layer.heads * padded * w**2 * (key + (key if published else layer.head_dim))
        tables += layer.table
    return MultiplyAdds(dense, attention, tables)


def count_multiply_adds(net: nn.Module, height: int, width: int) -> int:
    """Multiply-adds of a forward pass of one LR picture through a network on `meta`, counted by torch."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, height, width, device='meta'))
    return counter.get_total_flops() // 2


def floor(network: Mapping[str, Any], pixels: int, ceilings: Ceilings, *, training: bool = False) -> Floor:
    """The least time for `pixels` LR pixels: nothing padded but channels to tiles, every map read and written once.

    A training step computes the logits twice and three times the dense work and the copies, and its backward pass has
    three products as wide as q and two as wide as v.

    Args:
        network (Mapping): `network_g`.
        pixels (int): of all pictures of the batch.
        ceilings (Ceilings): of the machine.
        training (bool): a step instead of a forward pass.

    Raises:
        UserError: see `parse`.
    """
    options = parse(network)
    dim, hidden = options.dim, _hidden(options)
    keys, values, exps, times = (4, 3, 2, TRAINING) if training else (1, 1, 1, 1)
    logits = products = 0
    for layer in _layers(options):
        count = layer.heads * pixels * layer.window**2
        value = _tiled(layer.head_dim)
        logits += count
        products += 2 * count * (keys * (value + _tiled(layer.rank)) + values * value)
    number_of_layers = options.num_blocks * len(options.window_sizes)
    dense = number_of_layers * (5 * dim**2 + 2 * dim * hidden + 9 * (dim + hidden)) + _outside_layers(options)
    # Per layer with the best fusion; each of the body's other convolutions reads, adds and writes, as its norm does.
    copies = number_of_layers * (17 * dim + 2 * hidden) + (options.num_blocks + 1) * 4 * dim + _upsampler_maps(options)
    return Floor(
        exp=exps * logits / ceilings.exp,
        attention=products / ceilings.matmul,
        dense=times * 2 * dense * pixels / ceilings.matmul,
        copy=times * copies * ceilings.number * pixels / ceilings.copy,
    )


def _hidden(options: SSTOptions) -> int:
    return int(options.dim * options.ffn_expansion)


def _tiled(channels: int) -> int:
    return -(-channels // TILE) * TILE


def _layers(options: SSTOptions) -> Iterator[Layer]:
    bias = options.bias
    for _ in range(options.num_blocks):
        for window, heads, rank in zip(options.window_sizes, options.num_heads, bias.ranks, strict=True):
            table = window**2 * bias.hidden * (2 + 4 * bias.bands + 2 * heads * rank)
            yield Layer(window, heads, options.dim // heads, rank, table)


def _outside_layers(options: SSTOptions) -> int:
    """Multiply-adds per LR pixel of stem, convolutions of the body and upsampler."""
    dim, square = options.dim, options.scale**2
    body = 9 * (3 * dim + (options.num_blocks + 1) * dim**2)
    match options.upsampler.type:
        case 'pixelshuffle_direct':
            return body + 9 * dim * 3 * square
        case 'pixelshuffle':
            m = options.upsampler.channels
            return body + 9 * (dim * m + m * m * square + 3 * m * square)
        case _:  # nearest_conv
            m = options.upsampler.channels
            enlarged = 4 + 16 if options.scale == 4 else square
            return body + 3 * dim + 49 * dim**2 + dim**2 + 9 * (dim * m + m * m * enlarged + 3 * m * square)


def _upsampler_maps(options: SSTOptions) -> int:
    """Numbers per LR pixel that an upsampler reads and writes, its largest map once."""
    square = options.scale**2
    if options.upsampler.type == 'pixelshuffle_direct':
        return options.dim + 3 * square
    m = options.upsampler.channels
    return options.dim + 2 * m + m * square + 3 * square
