"""The demo's outcome: a table of SST against bicubic, and a picture for each photograph, below results/demo."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works without an installation too

from comparison import Panel, draw_comparison  # after the repository is on the path
from sst.utils.command_line import CommandLine
from sst.utils.errors import UserError, in_one_line


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM, both on Y."""

    psnr: float
    ssim: float

    def __str__(self) -> str:
        return f'{self.psnr:.2f} / {self.ssim:.4f}'


@dataclass(frozen=True)
class Results:
    """What sst/test.py left in one results folder about one set of pictures."""

    folder: Path
    set_name: str
    average: Score
    scores: dict[str, Score]  # by LR file name without ending

    def picture(self, image: str) -> Path:
        return self.folder / 'visualization' / self.set_name / f'{image}_{self.folder.name}.png'


def read_results(folder: Path) -> Results:
    """Read the only set in `folder`'s metrics.json and metrics.csv.

    Raises:
        UserError: if the test was not run, was interrupted, or was run on several sets.
    """
    try:
        averages = json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))
        with (folder / 'metrics.csv').open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        ((set_name, average),) = averages.items()
        scores = {row['image']: Score(float(row['psnr']), float(row['ssim'])) for row in rows if row['set'] == set_name}
        return Results(folder, set_name, Score(float(average['psnr']), float(average['ssim'])), scores)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{folder}: no complete results of one set ({error}); run: bash scripts/demo.sh') from error


def make_table(bicubic: Results, sst: Results, scale: int) -> Table:
    """Pictures and their average against bicubic, SST and the gain."""
    table = Table(title=f'Held-out photographs, enlarged x{scale}: PSNR (dB) / SSIM on Y')
    table.add_column('picture')
    for heading in ('bicubic', 'SST', 'gain'):
        table.add_column(heading, justify='right')
    for image, score in sst.scores.items():
        base = bicubic.scores[image]
        table.add_row(_title(image, scale), str(base), str(score), _gain(base, score))
    table.add_section()
    table.add_row('average', str(bicubic.average), str(sst.average), _gain(bicubic.average, sst.average), style='bold')
    return table


def write_pictures(bicubic: Results, sst: Results, data: Path, scale: int, output: Path) -> list[Path]:
    """Set LR, bicubic, SST and HR of each photograph side by side; returns the files written."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for image, score in sst.scores.items():
        name = _title(image, scale)
        small = _read(data / 'LR_bicubic' / f'X{scale}' / f'{image}.png')
        panels = [
            Panel('LR', 'nearest neighbour', small.repeat(scale, 0).repeat(scale, 1)),
            Panel('Bicubic', _caption(bicubic.scores[image]), _read(bicubic.picture(image))),
            Panel('SST', _caption(score), _read(sst.picture(image))),
            Panel('HR', 'the original', _read(data / 'HR' / f'{name}.png')),
        ]
        written.append(output / f'{name}.png')
        draw_comparison(name, panels).save(written[-1])
    return written


def _title(image: str, scale: int) -> str:
    return image.removesuffix(f'x{scale}')


def _gain(base: Score, score: Score) -> str:
    psnr = 0.0 if score.psnr == base.psnr else score.psnr - base.psnr  # both are infinite where both are exact
    return f'{psnr:+.2f} / {score.ssim - base.ssim:+.4f}'


def _caption(score: Score) -> str:
    return f'{score.psnr:.2f} dB / {score.ssim:.4f}'


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert('RGB'))
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error}); run: bash scripts/demo.sh') from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = CommandLine(description=__doc__)
    parser.add_argument('--sst', type=Path, default=Path('results/test_demo'), help='results of SST (%(default)s)')
    parser.add_argument(
        '--bicubic', type=Path, default=Path('results/test_demo_bicubic'), help='results of bicubic (%(default)s)'
    )
    parser.add_argument('--data', type=Path, default=Path('datasets/demo/val'), help='the set (%(default)s)')
    parser.add_argument('--scale', type=int, default=2, help='enlargement (%(default)s)')
    parser.add_argument('--output', type=Path, default=Path('results/demo'), help='folder to write (%(default)s)')
    args = parser.parse_args(arguments)
    with in_one_line():
        sst, bicubic = read_results(args.sst), read_results(args.bicubic)
        if sst.scores.keys() != bicubic.scores.keys():
            raise UserError(f'{args.sst} and {args.bicubic} hold different pictures; run: bash scripts/demo.sh')
        written = write_pictures(bicubic, sst, args.data, args.scale, args.output)
    Console().print(make_table(bicubic, sst, args.scale))
    print('Pictures to look at:', *written, sep='\n  ')


if __name__ == '__main__':
    main()
