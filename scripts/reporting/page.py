"""One HTML page that holds everything: tables, curves, and the tests' images side by side."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from reporting.grid import Cell, Grid
from reporting.runs import Tested, Training

THUMBNAIL = 360  # pixels of the longer side
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small { color: #888; margin-left: .4em; }
p.note, figcaption { color: #888; font-size: .9rem; }
.row { display: flex; gap: .8rem; flex-wrap: wrap; }
figure { margin: 0; } figure img { max-width: 100%; }
"""


def page(
    title: str, grids: Sequence[Grid], runs: Sequence[Training], tests: Sequence[Tested], root: Path, images: int
) -> str:
    """The page.

    Args:
        root (Path): the folder that options name data sets from, for the HR images.
        images (int): of each set, at most.
    """
    parts = [f'<h1>{escape(title)}</h1>', *map(_table, grids)]
    if charts := curves(runs):
        parts.append('<h2>Curves</h2>' + ''.join(f'<figure>{chart}</figure>' for chart in charts))
    if shown := _images(tests, root, images):
        parts.append('<h2>Images</h2>' + shown)
    body = '\n'.join(parts)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'


def _table(grid: Grid) -> str:
    head = ''.join(f'<th>{escape(heading)}</th>' for heading in grid.headings)
    rows = ''.join(f'<tr>{"".join(f"<td>{_cell(cell)}</td>" for cell in row)}</tr>' for row in grid.rows)
    notes = ''.join(f'<p class="note">{escape(note)}</p>' for note in grid.notes)
    table = f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<h2>{escape(grid.title)}</h2><div class="wide">{table}</div>{notes}'


def _cell(cell: Cell) -> str:
    return escape(cell.ours) + (f'<small>{escape(cell.published)}</small>' if cell.published else '')


def curves(runs: Sequence[Training]) -> list[str]:
    """A chart in SVG for the loss, and one for each set's PSNR; a line for each run."""
    groups: dict[str, list[tuple[str, list[int], list[float]]]] = {}
    for run in runs:
        for tag, (steps, values) in run.curves.items():
            if tag == 'losses/l_pix' or (tag.startswith('metrics/') and tag.endswith('/psnr')):
                groups.setdefault(tag, []).append((run.name, steps, values))
    return [_chart(tag, groups[tag]) for tag in sorted(groups)]


def _chart(tag: str, lines: Sequence[tuple[str, list[int], list[float]]]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout='constrained')
    axes: Any = figure.subplots()
    for name, steps, values in lines:
        axes.plot(steps, values, label=name, linewidth=1.2, marker='.' if len(steps) < 12 else None)
    loss = tag.startswith('losses/')
    name = tag.removeprefix('losses/') if loss else f'PSNR on {tag.split("/")[1]} (dB)'
    axes.set(xlabel='iteration', ylabel=name, yscale='log' if loss else 'linear')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format='svg')
    return text.getvalue()[text.getvalue().index('<svg') :]


def _images(tests: Sequence[Tested], root: Path, most: int) -> str:
    """Images of each set at each scale that several tests may have left, side by side, with HR where it is there."""
    rows: dict[tuple[int, str, str], list[tuple[str, Path]]] = {}
    for test in tests:
        for path in sorted((test.folder / 'visualization').glob('*/*.png')):
            image = path.stem.removesuffix(f'_{test.name}')
            rows.setdefault((test.options['scale'], path.parent.name, image), []).append((test.name, path))
    parts, counts = [], dict.fromkeys(((scale, data) for scale, data, _ in rows), 0)
    for (scale, data, image), versions in rows.items():
        counts[scale, data] += 1
        if counts[scale, data] > most:
            continue
        if hr := _hr(tests, root, data, image, scale):
            versions = [*versions, ('HR', hr)]
        figures = ''.join(_figure(name, path) for name, path in versions)
        parts.append(f'<p>{escape(data)}, {escape(image)}, x{scale}</p><div class="row">{figures}</div>')
    return ''.join(parts)


def _figure(name: str, path: Path) -> str:
    image = f'<img src="{_embedded(path)}" alt="{escape(name)}">'
    return f'<figure>{image}<figcaption>{escape(name)}</figcaption></figure>'


def _hr(tests: Sequence[Tested], root: Path, data: str, image: str, scale: int) -> Path | None:
    for test in tests:
        for options in test.options.get('datasets', {}).values():
            if options.get('name') == data and options.get('dataroot_gt'):
                path = root / options['dataroot_gt'] / f'{image.removesuffix(f"x{scale}")}.png'
                if path.is_file():
                    return path
    return None


def _embedded(path: Path) -> str:
    """A small version of an image as a data URL."""
    with Image.open(path) as image:
        small = image.convert('RGB')
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, 'WEBP', quality=90)
    return f'data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}'
