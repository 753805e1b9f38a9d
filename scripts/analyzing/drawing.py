"""Figures as PNG and PDF: panels of maps with colour bars, a caption below, text that stays text."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sst.utils.errors import UserError
from sst.utils.optional import require

PANEL = 2.7  # inches
LETTERS = 15  # of a caption, in an inch
DYNAMIC = 1e4  # between the ends of a logarithmic colour bar


@dataclass(frozen=True)
class Panel:
    """An image (H, W, 3), or a map (H, W) with colours; `frame` is (top, left, height, width) in its pixels."""

    title: str
    pixels: np.ndarray
    colours: str = 'viridis'
    limits: tuple[float, float] | None = None
    label: str = ''  # of the colour bar
    frame: tuple[float, float, float, float] | None = None
    logarithmic: bool = False


def draw_panels(rows: Sequence[Sequence[Panel]], caption: str) -> Callable[[Any], None]:
    """What fills a figure of matplotlib with rows of panels."""

    def draw(figure: Any) -> None:
        columns = max(map(len, rows))
        heights = [max(panel.pixels.shape[0] / panel.pixels.shape[1] for panel in row) for row in rows]
        figure.set_size_inches(PANEL * columns, PANEL * sum(heights) + 0.35 * len(rows) + 0.5)
        grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for axes_of_row, row in zip(grid, rows, strict=True):
            for axes, panel in zip(axes_of_row, [*row, *[None] * (columns - len(row))], strict=True):
                axes.set_axis_off()
                if panel is not None:
                    _draw(figure, axes, panel)
        say(figure, caption)

    return draw


def _draw(figure: Any, axes: Any, panel: Panel) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    axes.set_title(panel.title, fontsize=9)
    if panel.pixels.ndim == 3:
        axes.imshow(panel.pixels, interpolation='nearest')
    else:
        low, high = panel.limits or (None, None)
        pixels, norm = panel.pixels, None
        if panel.logarithmic:
            top = float(pixels.max()) or 1.0
            pixels, norm = np.maximum(pixels, top / DYNAMIC), LogNorm(top / DYNAMIC, top)
            low = high = None
        shown = axes.imshow(pixels, panel.colours, norm=norm, vmin=low, vmax=high, interpolation='nearest')
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, shrink=0.8)
        bar.ax.tick_params(labelsize=7)
        bar.set_label(panel.label, fontsize=8)
    if panel.frame:
        top, left, height, width = panel.frame
        place = left - 0.5, top - 0.5
        axes.add_patch(Rectangle(place, width, height, fill=False, edgecolor='#e6284a', linewidth=1.4))


def say(figure: Any, caption: str) -> None:
    """Write a caption below a figure, in lines that fit its width."""
    width = max(int(figure.get_size_inches()[0] * LETTERS), 30)
    figure.supxlabel('\n'.join(textwrap.wrap(caption, width)), x=0.01, ha='left', fontsize=8, color='#444')


def save(draw: Callable[[Any], None], stem: Path) -> list[Path]:
    """Write what `draw` fills a figure with as `stem`.png and `stem`.pdf.

    Raises:
        UserError: matplotlib is not installed, or a file cannot be written.
    """
    require('matplotlib.figure', 'Figure', 'plots', f'{stem}: no figure, because it')
    import matplotlib
    from matplotlib.figure import Figure

    files = [stem.with_name(stem.name + ending) for ending in ('.png', '.pdf')]
    with matplotlib.rc_context({'pdf.fonttype': 42, 'savefig.facecolor': 'white'}):  # 42: text stays text
        figure = Figure(layout='constrained')
        draw(figure)
        for file in files:
            try:
                figure.savefig(file, dpi=200)
            except OSError as fault:
                raise UserError(f'{file}: cannot be written ({fault.strerror})') from fault
    return files
