"""Writes weights as an ONNX model for images of any size: `python scripts/export_onnx.py WEIGHTS -o FILE.onnx`."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from measuring.results import make_folders  # after the repository is on the path
from sst.checkpoints.networks import network_in_options
from sst.checkpoints.pretrained import MissingOptionsError, from_pretrained, on_command_line
from sst.interop.onnx import OPSET, export_onnx
from sst.utils.command_line import CommandLine, add_network_arguments, whole_numbers
from sst.utils.errors import UserError, in_one_line


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__)
    parser.add_argument('weights', help='a weights file, the name of shipped weights or hf://owner/repo/file')
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='FILE.onnx')
    parser.add_argument('--opset', type=int, default=OPSET, help=f"version of ONNX's operators (default: {OPSET})")
    parser.add_argument(
        '--window-sizes',
        type=whole_numbers,
        nargs='+',
        metavar='N',
        help='windows of a block where the file does not tell them: one number for all layers, or 16,32,64 or 16 32 64',
    )
    add_network_arguments(parser)
    args = parser.parse_args(arguments)
    sizes = [size for part in args.window_sizes or [] for size in part]
    with in_one_line():
        make_folders(args.output)
        try:
            net = from_pretrained(
                args.weights,
                network_g=network_in_options(args.network),
                window_sizes=sizes[0] if len(sizes) == 1 else sizes or None,
                imports=args.imports,
                param_key=args.param_key,
            )
        except MissingOptionsError as error:
            flags = {'window_sizes': '--window-sizes'}
            raise UserError(error.told(partial(on_command_line, flags=flags, between=' '))) from error
        scale = export_onnx(net, args.output, args.opset)
    print(f'{args.weights} -> {args.output}: x{scale}, {args.output.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
