"""The command line of `sst-upscale`. Flags that Real-ESRGAN has too mean what its users know."""

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from sst.checkpoints.sources import shipped
from sst.utils import pixels
from sst.utils.command_line import CommandLine, add_network_arguments

EXTENSIONS = ('auto', 'png', 'jpg', 'jpeg', 'webp', 'tif', 'tiff')
DTYPES = ('float32', 'float16', 'bfloat16')
LARGEST_SCALE = 64.0
EXAMPLES = """examples:
  sst-upscale photo.jpg                       results/photo_x2.jpg
  sst-upscale photos -o large -s 4            a folder with all in it, under the same names
  sst-upscale clip.mp4 -o clip_4k.mp4 --width 3840
  sst-upscale photo.png -n SST_L_x4.pth --window-sizes 16,32,64,16,32,64
  torchrun --nproc_per_node=8 sst/upscale.py photos -o large"""


@dataclass(frozen=True)
class Settings:
    """What the command line asks for; `--help` says what each means."""

    inputs: list[str]
    output: Path
    model: str | None
    scale: float | None
    width: int | None
    height: int | None
    tile: int | Literal['auto'] | None
    overlap: int
    ensemble: bool
    dtype: str | None
    device: str | None
    window_sizes: list[int] | None
    num_heads: list[int] | None
    network: str | None
    imports: list[str]
    param_key: str | None
    extension: str
    suffix: str | None
    quality: int
    crf: int
    max_megapixels: float
    skip_existing: bool
    dry_run: bool


def parse(argv: Sequence[str] | None = None) -> Settings:
    """The settings of a command line; where it makes no sense one line says so and the program exits with code 2."""
    parser = CommandLine(
        prog='sst-upscale',
        description='Enlarges pictures (PNG, JPEG, WebP, TIFF, AVIF and more) and videos.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_files(parser)
    _add_network(parser)
    args = parser.parse_args(argv)
    args.inputs += args.more_inputs
    if not args.inputs:
        parser.error('no INPUT is given: name pictures, videos, folders or patterns')
    if args.fp32 and args.dtype not in (None, 'float32'):
        parser.error(f'--fp32 and --dtype {args.dtype} contradict each other; give one of them')
    if args.suffix is not None and ('/' in args.suffix or '\\' in args.suffix or '\0' in args.suffix):
        parser.error(f'--suffix {args.suffix!r}: a part of a name, without / and \\')
    if args.gpu is not None and args.device is not None:
        parser.error(f'--device {args.device} and --gpu-id contradict each other; give one of them')
    args.dtype = 'float32' if args.fp32 else args.dtype
    args.device = args.gpu or args.device
    return Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})


def _add_files(parser: CommandLine) -> None:
    add = parser.add_argument
    add('inputs', nargs='*', metavar='INPUT', help='picture, video, folder (with all folders in it) or pattern (*.png)')
    add('-i', '--input', dest='more_inputs', action='append', default=[], metavar='INPUT', help='the same')
    add(
        '-o',
        '--output',
        type=_path,
        default=Path('results'),
        metavar='OUT',
        help='folder for the results, or for one file the name of the result (results)',
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        '-s',
        '--scale',
        '--outscale',
        type=_scale,
        metavar='S',
        help="how many times larger, also 1.5 or 3 with any network (the network's own scale)",
    )
    size.add_argument('--width', type=_positive, metavar='N', help='pixels that the result is wide')
    size.add_argument('--height', type=_positive, metavar='N', help='pixels that the result is high')
    add('--ext', dest='extension', choices=EXTENSIONS, default='auto', help='format of the results (as the inputs)')
    add(
        '--suffix',
        help='what is added to the names, after a _ (x2, or w1920, h1080 by --width, --height); "" for nothing',
    )
    add(
        '--quality', type=_within(1, 100), default=95, metavar='1-100', help='of JPEG and WebP, 100: lossless WebP (95)'
    )
    add('--crf', type=_within(0, 51), default=17, metavar='0-51', help='of videos, less is better and larger (17)')
    pixels.add_argument(parser)
    add('--skip-existing', action='store_true', help='leave out what has a result already')
    add(
        '--dry-run',
        action='store_true',
        help='a table of what would be done, how long it takes and how much memory; write nothing',
    )


def _add_network(parser: CommandLine) -> None:
    add = parser.add_argument
    names = ', '.join(shipped()) or 'none in this installation'
    add(
        '-n',
        '--model',
        '--model_name',
        dest='model',
        metavar='MODEL',
        help=f'weights: a name ({names}), a file, or hf://owner/repo/file (the one that ships for the scale)',
    )
    add(
        '-t',
        '--tile',
        type=_tile,
        default='auto',
        metavar='N|auto',
        help='input pixels a side of a tile; 0: none (auto)',
    )
    add(
        '--overlap',
        '--tile_pad',
        dest='overlap',
        type=_within(0, 4096),
        default=32,
        metavar='N',
        help='input pixels that a tile sees beyond its border (32)',
    )
    add(
        '--self-ensemble',
        dest='ensemble',
        action='store_true',
        help='the mean of the eight flips and turns: a little better, eight times the time',
    )
    add('--dtype', choices=DTYPES, help='of the numbers in the network (float16 on CUDA, else float32)')
    add('--fp32', action='store_true', help='the same as --dtype float32')
    add('--device', metavar='cuda|mps|cpu', help='where to compute (the fastest there is)')
    add('-g', '--gpu-id', dest='gpu', type=_gpu, metavar='N', help='the same as --device cuda:N; -1: cpu')
    told = 'that the network was trained with, for weights that do not tell: one number, or one for each layer'
    add('--window-sizes', type=_numbers, metavar='N,N,...', help=f'windows {told}')
    add('--num-heads', type=_numbers, metavar='N,N,...', help=f'heads {told}')
    add_network_arguments(parser)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError('an empty name; give a file or folder')
    if text == '-':
        raise argparse.ArgumentTypeError('results are not written to standard output; name a file or folder')
    return Path(os.path.expanduser(text))


def _scale(text: str) -> float:
    value = _float(text)
    if not 0 < value <= LARGEST_SCALE:
        raise argparse.ArgumentTypeError(f'must be a number above 0, up to {LARGEST_SCALE:g}, not {text!r}')
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(text: str) -> int:
    return _within(1, 1_000_000)(text)


def _within(least: int, most: int):
    def whole(text: str) -> int:
        if not text.strip().isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f'must be a whole number from {least} to {most}, not {text!r}')
        return int(text)

    return whole


def _tile(text: str) -> int | Literal['auto'] | None:
    if text == 'auto':
        return 'auto'
    if not text.strip().isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f'{text!r}; allowed are auto and whole numbers; 0 is for no tiles')
    return int(text) or None


def _gpu(text: str) -> str:
    if ',' in text:
        raise argparse.ArgumentTypeError(
            f'{text!r}; one GPU may be named, and all are used by: torchrun --nproc_per_node=N sst/upscale.py ...'
        )
    if text == '-1':
        return 'cpu'
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r}; allowed are the numbers of GPUs, from 0 on, and -1 for the CPU')
    return f'cuda:{int(text)}'


def _numbers(text: str) -> list[int]:
    parts = text.replace(',', ' ').split()
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f'{text!r}; allowed are whole numbers above 0 with commas between, as 16,32,64'
        )
    return [int(part) for part in parts]
