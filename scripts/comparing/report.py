"""The outcome as a table and a chart."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from comparing.curves import EARLY, SMOOTH, relative_differences, smoothed

LEGEND = (
    f'Relative differences of the loss from the reference. early: the largest in the first {EARLY} iterations; '
    f'smoothed: the largest between means over {SMOOTH} iterations, of which the last loss is one.'
)
STYLES = ('-', '-', '-', '--', '-', '--', '-', '--')  # equal curves hide each other
COLORS = ('#222222', '#9a9a9a', '#1b6ca8', '#2e8b57', '#b5482f', '#7d4fa3', '#c08a1e', '#3aa6a6')
FAINT = 0.25
LEAST = 1e-9  # what is drawn for no difference at all, on a logarithmic axis


def print_table(outcome: dict[str, Any]) -> None:
    """A line per way, then the ways that cannot serve here."""
    console = Console(highlight=False)
    table = Table(title=_title(outcome))
    table.add_column('way')
    for heading in ('last loss', 'early', 'mean', 'max', 'smoothed'):
        table.add_column(heading, justify='right', no_wrap=True)
    for curve in outcome['curves']:
        figures = [_figure(curve, name) for name in ('early', 'mean', 'max', 'smoothed')]
        style = 'red' if curve['wrong'] else None
        table.add_row(curve['name'], f'{smoothed(curve["losses"])[-1]:.5f}', *figures, style=style)
    console.print(table)
    for curve in outcome['curves']:
        if curve['wrong']:
            console.print(f'WRONG: {curve["name"]} lies too far from the reference', style='red', soft_wrap=True)
    for curve in outcome['curves']:
        console.print(f'{curve["name"]}: {curve["meaning"]}', soft_wrap=True)
    console.print(LEGEND, soft_wrap=True)
    for name, reason in outcome['refused'].items():
        console.print(f'not trained: {name}: {reason}', markup=False, soft_wrap=True)


def _title(outcome: dict[str, Any]) -> str:
    changes = [*outcome['force_yml'], *(['attention sharpened'] if outcome.get('sharpen') else [])]
    what = ', '.join([outcome['options'], *changes])
    return f'{what}: {outcome["iterations"]} iterations on {outcome["machine"]["device"]}'


def _figure(curve: dict[str, Any], name: str) -> str:
    limit = curve['limits'].get(name)
    if limit is None:
        return f'{curve[name]:.1e}'
    return f'{curve[name]:.1e} ≤ {limit:.0e}' if curve[name] <= limit else f'{curve[name]:.1e} > {limit:.0e}'


def draw(outcome: dict[str, Any], figure: Any) -> None:
    """Losses and their running means, and beside them how far each way is from the reference."""
    figure.set_size_inches(12, 4.5)
    left, right = figure.subplots(1, 2)
    _draw_losses(left, outcome['curves'])
    _draw_differences(right, outcome['curves'])
    figure.suptitle(_title(outcome))


def _draw_losses(axes: Any, curves: Sequence[dict[str, Any]]) -> None:
    for curve, color, style in zip(curves, COLORS, STYLES, strict=False):
        means = smoothed(curve['losses'])
        count = len(curve['losses'])
        axes.plot(range(1, count + 1), curve['losses'], color=color, alpha=FAINT, linewidth=0.7)
        place = range(count - len(means) + 1, count + 1)
        axes.plot(place, means, style, color=color, label=curve['name'], linewidth=1.3)
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('{x:g}')
    axes.set_xlabel('iteration')
    axes.set_ylabel(f'loss (bold: mean of {SMOOTH} iterations)')
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_differences(axes: Any, curves: Sequence[dict[str, Any]]) -> None:
    reference = curves[0]['losses']
    for curve, color, style in list(zip(curves, COLORS, STYLES, strict=False))[1:]:
        apart = relative_differences(curve['losses'], reference)
        axes.plot(range(1, len(apart) + 1), apart.clip(LEAST), style, color=color, label=curve['name'], linewidth=0.9)
    axes.set_yscale('log')
    axes.set_xlabel('iteration')
    axes.set_ylabel(f'relative difference from {curves[0]["name"]}')
    axes.grid(alpha=0.3)
    axes.legend()
