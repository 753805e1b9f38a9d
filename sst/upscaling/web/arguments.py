"""The command line of the web demo."""

import argparse
import re
from collections.abc import Sequence

from sst.checkpoints.sources import shipped
from sst.utils.command_line import CommandLine, number_up_to

MEGAPIXELS = 4.0  # of a dropped picture


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments by name. If the command line is wrong, the program ends."""
    parser = CommandLine(
        prog='sst-demo',
        description='Shows a page that enlarges pictures on this computer; nothing goes to the internet.',
    )
    names = ', '.join(shipped()) or 'none'
    parser.add_argument(
        '--model',
        action='append',
        default=[],
        dest='models',
        metavar='NAME|FILE|hf://...',
        help=f'weights to offer, in front of the shipped ones ({names}); may be given several times',
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (%(default)s: this computer alone)')
    parser.add_argument(
        '--allow-host',
        action='append',
        default=[],
        type=_name,
        metavar='NAME',
        help='a name by which others reach this computer, besides its own and its IP addresses; may be given several '
        'times',
    )
    parser.add_argument('--port', type=_port, default=7860, help='port to listen on, 0 for any free one (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or mps (the best there is)')
    parser.add_argument(
        '--dtype',
        choices=('float32', 'float16', 'bfloat16'),
        help='number format of the network (float16 on CUDA, else float32)',
    )
    parser.add_argument(
        '--max-megapixels',
        type=number_up_to(400),
        default=MEGAPIXELS,
        metavar='N',
        help='largest picture that may be dropped, in million pixels (%(default)g)',
    )
    parser.add_argument(
        '--max-disk',
        type=number_up_to(100_000),
        metavar='GB',
        help='what all uploads and results may take together; then the oldest are removed (2, more for large pictures)',
    )
    return parser.parse_args(argv)


def _name(text: str) -> str:
    if not re.fullmatch(r'[\w.-]+', text):
        raise argparse.ArgumentTypeError(f'must be the name of a computer, such as demo.example.org, not {text!r}')
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'must be a port from 0 to 65535, not {text!r}')
    return int(text)
