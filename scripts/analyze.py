"""What a network looks at, and where it errs: figures as PNG and PDF, with the numbers behind them as JSON.

lam       which LR pixels a region of SR is made from, with the diffusion index (Gu and Dong 2021)
field     the effective receptive field of the centre of SR
bias      the positional bias of a block's layers and heads as maps, with its singular values (Figure 4)
distance  how far each layer of an SST attends
gates     attention before its gate, and the gate (Figure S2)
spectrum  the power of the error at each frequency
crops     regions side by side where networks differ most, with PSNR (Figure 5)
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch, because spinning threads are slow on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

import torch

from analyzing.drawing import save
from analyzing.kinds import KINDS, NEED_HR, WITHOUT_IMAGES
from analyzing.models import load_models, read_pictures
from measuring.results import make_folders, positive, words, write_json
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('kind', choices=list(KINDS), help='see above')
    add(
        '--models',
        type=words,
        default=['SST-tiny-x2'],
        help='shipped weights, weights files of any system, or names of the league, with commas between (%(default)s)',
    )
    add('--scale', type=int, choices=(2, 3, 4), help='of names of the league (2)')
    add('--images', type=Path, nargs='+', default=[], metavar='PATH', help='HR images or folders; LR is made of them')
    add('--lr', action='store_true', help='the images are LR')
    add('--at', type=_point, metavar='X,Y', help='lam, crops: left and top of the region, SR pixels')
    add('--window', type=positive, default=32, help='lam, crops: side of the region, SR pixels (%(default)s)')
    add('--sigma', type=float, default=1.2, help='lam: strongest blur, LR pixels (%(default)s)')
    add('--steps', type=positive, default=50, help='lam: steps from blurred to sharp (%(default)s)')
    add('--side', type=positive, default=129, help='field: side of the images, LR pixels (%(default)s)')
    add('--block', type=positive, default=1, help='bias, gates: block, from 1 (%(default)s)')
    add('--layer', type=positive, default=3, help='gates: layer of the block, from 1 (%(default)s)')
    add('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--root', type=Path, default=Path.cwd(), help='where the weights of names lie (the current folder)')
    add('--out', type=Path, default=Path('results/analysis'), help='folder for the files (%(default)s)')
    return parser.parse_args(arguments)


def _point(text: str) -> tuple[int, int]:
    left, _, top = text.partition(',')
    try:
        return int(left), int(top)
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be X,Y, two whole numbers as 292,40, not {text!r}') from None


def main(arguments: Sequence[str] | None = None) -> None:
    args = read_arguments(arguments)
    with in_one_line():
        needs_images = args.kind not in WITHOUT_IMAGES
        if needs_images and not args.images:
            raise UserError(f'{args.kind} needs images; add --images FILE or FOLDER')
        if args.lr and args.kind in NEED_HR:
            raise UserError(f'{args.kind} compares with HR; leave out --lr and name HR images')
        if args.sigma <= 0:
            raise UserError(f'--sigma {args.sigma}: must be above 0')
        stem = args.out / args.kind
        make_folders(stem)
        models = load_models(args.models, args.scale, args.root, args.device)
        pictures = read_pictures(args.images, models[0].scale, args.lr) if needs_images else []
        outcome = KINDS[args.kind](args, models, pictures)
        written = save(outcome.draw, stem)
        numbers = stem.with_suffix('.json')
        write_json({'models': args.models, 'images': list(map(str, args.images)), 'numbers': outcome.numbers}, numbers)
        print(*outcome.lines, sep='\n')
        print('Written:', *written, numbers)


if __name__ == '__main__':
    main()
