"""Writes weights as an ONNX model for pictures of any size: `python scripts/export_onnx.py WEIGHTS -o FILE.onnx`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from sst.interop.onnx import OPSET, export_onnx  # after the repository is on the path
from sst.interop.pretrained import from_pretrained
from sst.utils.errors import UserError


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('weights', help='a weights file, the name of shipped weights or hf://owner/repo/file')
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='FILE.onnx')
    parser.add_argument('--opset', type=int, default=OPSET, help=f"version of ONNX's operators (default: {OPSET})")
    parser.add_argument(
        '--window-sizes', type=int, nargs='+', metavar='W', help='windows of a block, where the file does not tell them'
    )
    parser.add_argument(
        '--param-key', metavar='KEY', help='entry of the file to take (its moving average, if it has one)'
    )
    args = parser.parse_args(arguments)
    try:
        net = from_pretrained(args.weights, window_sizes=args.window_sizes, param_key=args.param_key)
        export_onnx(net, args.output, args.opset)
    except (UserError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    print(f'{args.weights} -> {args.output}: x{net.scale}, {args.output.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
