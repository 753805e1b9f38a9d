"""The command line of the web demo."""

import argparse
import re
from collections.abc import Sequence

from sst.interop.sources import shipped
from sst.utils.command_line import CommandLine, number

MEGAPIXELS = 4.0  # of a dropped picture


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says, by the names of its options and `models`; ends the program if it is wrong."""
    parser = CommandLine(
        prog='sst-demo',
        description='Shows a page that enlarges pictures on this computer; nothing goes to the internet.',
    )
    add = parser.add_argument
    names = ', '.join(shipped()) or 'none'
    model = f'weights to offer, in front of the shipped ones ({names}); may be given several times'
    add('--model', action='append', default=[], dest='models', metavar='NAME|FILE|hf://...', help=model)
    add('--host', default='127.0.0.1', help='address to listen on (%(default)s: this computer alone)')
    other = (
        'a name by which others reach this computer, besides its own and its IP addresses; may be given several times'
    )
    add('--allow-host', action='append', default=[], type=_name, metavar='NAME', help=other)
    add('--port', type=number(0, 65535), default=7860, help='port to listen on, 0 for any free one (%(default)s)')
    add('--device', help='cpu, cuda, cuda:1 or mps (the best there is)')
    dtype = 'number format of the network (float16 on CUDA, else float32)'
    add('--dtype', choices=('float32', 'float16', 'bfloat16'), help=dtype)
    limit, largest = (
        number(0.0, 400, above=True),
        'largest picture that may be dropped, in million pixels (%(default)g)',
    )
    add('--max-megapixels', type=limit, default=MEGAPIXELS, metavar='N', help=largest)
    disk = 'what all uploads and results may take together; then the oldest are removed (2, more for large pictures)'
    add('--max-disk', type=number(0.0, 100_000, above=True), metavar='GB', help=disk)
    return parser.parse_args(argv)


def _name(text: str) -> str:
    if not re.fullmatch(r'[\w.-]+', text):
        raise argparse.ArgumentTypeError(f'{text!r}: must be the name of a computer, as demo.example.org')
    return text
