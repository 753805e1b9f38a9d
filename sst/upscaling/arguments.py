"""The command line of `sst-upscale`. A flag that Real-ESRGAN has too means the same as there."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sst.archs.sstreal_arch import checked_guidance
from sst.archs.sstreal_options import MOST_GUIDANCE
from sst.archs.sstreal_start import MOST_SEED
from sst.checkpoints.sources import shipped
from sst.utils import pixels
from sst.utils.command_line import CommandLine, add_network_arguments, number_up_to, whole_number, whole_numbers

EXTENSIONS = ('auto', 'png', 'jpg', 'jpeg', 'webp', 'tif', 'tiff')
DTYPES = ('float32', 'float16', 'bfloat16')
EXAMPLES = """examples:
  sst-upscale photo.jpg                       results/photo_x2.jpg
  sst-upscale photos -o large -s 4            a folder with all in it, under the same names
  sst-upscale clip.mp4 -o clip_4k.mp4 --width 3840
  sst-upscale photo.png -n SST_L_x4.pth --window-sizes 16,32,64,16,32,64
  torchrun --nproc_per_node=8 sst/upscale.py photos -o large"""


class Settings(argparse.Namespace):
    """What the command line asks for; `--help` says what each setting means."""

    inputs: list[str]
    output: Path
    model: str | None
    scale: float | None
    width: int | None
    height: int | None
    tile: int | Literal['auto'] | None
    overlap: int
    ensemble: bool
    guidance: float | None
    seed: int | None
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
    """The settings of a command line. If it is wrong, one line says why and the program exits with code 2."""
    parser = CommandLine(
        prog='sst-upscale',
        description='Enlarges images (PNG, JPEG, WebP, TIFF, AVIF and more) and videos.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_files(parser)
    _add_network(parser)
    settings = parser.parse_args(argv, Settings())
    settings.inputs += settings.more_inputs
    if not settings.inputs:
        parser.error('INPUT: is missing; name images, videos, folders or patterns')
    return settings


def _add_files(parser: CommandLine) -> None:
    add = parser.add_argument
    add('inputs', nargs='*', metavar='INPUT', help='image, video, folder (searched with all its folders) or pattern')
    add('-i', '--input', dest='more_inputs', action='append', default=[], metavar='INPUT', help='the same')
    output_help = 'folder for the results, or the name of the result if there is one INPUT file (results)'
    add('-o', '--output', type=_output, default=Path('results'), metavar='OUT', help=output_help)
    size = parser.add_mutually_exclusive_group()
    scale_help = "how many times larger, also 1.5 or 3 with any network (the network's own scale)"
    size.add_argument('-s', '--scale', '--outscale', type=number_up_to(64), metavar='S', help=scale_help)
    size.add_argument('--width', type=whole_number(1, 1_000_000), metavar='N', help='width of the result in pixels')
    size.add_argument('--height', type=whole_number(1, 1_000_000), metavar='N', help='height of the result in pixels')
    add('--ext', dest='extension', choices=EXTENSIONS, default='auto', help='format of the results (as the inputs)')
    suffix_help = 'what names end in, after a _ (x2, or w1920, h1080 with --width, --height); "" for nothing'
    add('--suffix', type=_suffix, help=suffix_help)
    quality_help = 'quality of JPEG and WebP, 100: lossless WebP (95)'
    add('--quality', type=whole_number(1, 100), default=95, metavar='1-100', help=quality_help)
    crf_help = 'rate factor of videos: lower is better, and files are larger (17)'
    add('--crf', type=whole_number(0, 51), default=17, metavar='0-51', help=crf_help)
    pixels.add_argument(parser)
    add('--skip-existing', action='store_true', help='skip inputs that have a result already')
    dry_run_help = 'show what would be done, in what time and with how much memory; write nothing'
    add('--dry-run', action='store_true', help=dry_run_help)


def _add_network(parser: CommandLine) -> None:
    add = parser.add_argument
    names = ', '.join(shipped()) or 'none in this installation'
    model_help = f'weights: a name ({names}), a file, or hf://owner/repo/file (the weights that ship for the scale)'
    add('-n', '--model', '--model_name', dest='model', metavar='MODEL', help=model_help)
    tile_help = 'side of a tile in input pixels; 0: no tiles (auto)'
    add('-t', '--tile', type=_tile, default='auto', metavar='N|auto', help=tile_help)
    overlap_help = 'input pixels that a tile sees beyond its border (32)'
    add(
        '--overlap',
        '--tile_pad',
        dest='overlap',
        type=whole_number(0, 4096),
        default=32,
        metavar='N',
        help=overlap_help,
    )
    ensemble_help = 'take the mean of the eight flips and turns: a little better, eight times the time'
    add('--self-ensemble', dest='ensemble', action='store_true', help=ensemble_help)
    guidance_help = 'of SSTReal, from 0 to 10: more is more detail, true or not (as the weights say, usually 2)'
    add('--guidance', type=_guidance, metavar='X', help=guidance_help)
    seed_help = 'of the noise that SSTReal starts from: another one gives other details (0)'
    add('--seed', type=whole_number(0, MOST_SEED), metavar='N', help=seed_help)
    dtype = parser.add_mutually_exclusive_group()
    dtype.add_argument('--dtype', choices=DTYPES, help='number format of the network (float16 on CUDA, else float32)')
    fp32_help = 'the same as --dtype float32'
    dtype.add_argument('--fp32', dest='dtype', action='store_const', const='float32', help=fp32_help)
    device = parser.add_mutually_exclusive_group()
    device.add_argument('--device', metavar='cuda|mps|cpu', help='where to compute (the fastest that is there)')
    gpu_help = 'the same as --device cuda:N; -1: cpu'
    device.add_argument('-g', '--gpu-id', dest='device', type=_gpu, metavar='N', help=gpu_help)
    trained = 'that the network was trained with, if the weights do not say: one number, or one for each layer'
    for name, what in (('--window-sizes', 'windows'), ('--num-heads', 'heads')):
        add(name, nargs='+', action=_Numbers, metavar='N', help=f'{what} {trained}, as 16,32,64 or 16 32 64')
    add_network_arguments(parser)


class _Numbers(argparse.Action):
    """Takes one number or several. What follows them, as in `--window-sizes 16 32 photo.png`, is an input."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        count = next((index for index, text in enumerate(values) if index and not text.isdecimal()), len(values))
        try:
            setattr(namespace, self.dest, whole_numbers(' '.join(values[:count])))
        except argparse.ArgumentTypeError as fault:
            raise argparse.ArgumentError(self, str(fault)) from None
        namespace.more_inputs = [*namespace.more_inputs, *values[count:]]


def _output(text: str) -> Path:
    if text in ('', '-'):
        raise argparse.ArgumentTypeError(f'must be a file or folder, not {text!r}')
    return Path(os.path.expanduser(text))


def _suffix(text: str) -> str:
    if set(text) & set('/\\\0'):
        raise argparse.ArgumentTypeError(f'must be a part of a name, without / and \\, not {text!r}')
    return text


def _tile(text: str) -> int | Literal['auto'] | None:
    return 'auto' if text == 'auto' else whole_number(0, 1_000_000, 'auto or ')(text) or None


def _gpu(text: str) -> str:
    if ',' in text:
        raise argparse.ArgumentTypeError(
            f'must be one GPU, not {text!r}; for several use: torchrun --nproc_per_node=N sst/upscale.py ...'
        )
    return 'cpu' if text == '-1' else f'cuda:{whole_number(0, 1000, "-1 for the CPU or ")(text)}'


def _guidance(text: str) -> float:
    try:
        return checked_guidance(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be a number from 0 to {MOST_GUIDANCE:g}, not {text!r}') from None
