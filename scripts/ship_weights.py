"""Writes a trained SST into sst/weights: `python scripts/ship_weights.py CHECKPOINT NAME ...`."""

import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from sst.archs import SST  # after the repository is on the path
from sst.checkpoints.pretrained import from_pretrained, save_pretrained
from sst.checkpoints.sources import FOLDER
from sst.checkpoints.weights import read_weights
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line

WRITES_THE_STREAM = re.compile(r'(stem|conv|.*\.attn\.proj|.*\.ffn\.project)\.(weight|bias)|blocks\.\d+\.conv\.bias')


@torch.no_grad()
def scale_stream(net: SST, factor: float) -> None:
    """Make the residual stream `factor` times as large, and the pictures what they were, in place.

    Every layer reads the stream through a LayerNorm, which ignores its size, and the upsampler's convolution undoes the
    factor. LayerNorm's epsilon does not follow, so that the result changes a little where the stream is nearly flat.

    Raises:
        UserError: an upsampler other than pixelshuffle_direct.
    """
    if net.options['upsampler']['type'] != 'pixelshuffle_direct':
        raise UserError(f'--stream-scale: the upsampler is {net.options["upsampler"]["type"]}, not pixelshuffle_direct')
    for name, value in net.state_dict().items():
        if WRITES_THE_STREAM.fullmatch(name):
            value.mul_(factor)
    net.state_dict()['upsampler.up.weight'].div_(factor)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__)
    parser.add_argument('checkpoint', help='weights that sst/train.py wrote')
    parser.add_argument('name', help='as SST-tiny-x2')
    parser.add_argument('--training-data', required=True, metavar='TEXT')
    parser.add_argument('--licence', required=True, metavar='TEXT')
    parser.add_argument(
        '--stream-scale',
        type=Fraction,
        default=Fraction(1),
        metavar='1/64',
        help='factor of the residual stream, where the maps leave the range of float16 (1)',
    )
    args = parser.parse_args(arguments)
    with in_one_line():
        told = read_weights(args.checkpoint).metadata
        net = from_pretrained(args.checkpoint)
        assert isinstance(net, SST)
        metadata = {'name': args.name, 'training_data': args.training_data, 'licence': args.licence}
        metadata |= {key: told[key] for key in ('run', 'iteration') if key in told}
        if args.stream_scale != 1:
            scale_stream(net, float(args.stream_scale))
            metadata['stream_scale'] = f'{args.stream_scale} of what was trained, so that float16 holds it'
        file = save_pretrained(net, FOLDER / f'{args.name}.safetensors', metadata)
        print(f'{args.checkpoint} -> {file}: x{net.scale}, {file.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
