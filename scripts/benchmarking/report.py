"""The outcome as tables, CSV and chart."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarking.rows import way
from sst.rivals.figures import published_figures
from sst.utils.errors import UserError
from sst.utils.files import atomic_write_text

OUTPUT_WIDTH = 1280  # of the pictures that the paper measures on, in pixels; they are 720 high
SET = 'Urban100'
LISTS = ('times', 'floor_parts', 'network')  # what a line of CSV does not hold
LINE = 160  # letters of a line that no terminal limits
LEGEND = (
    'over a model: the time over its time in mode fast; spread: half the distance of the quartiles; '
    'speed: against the published style in this run; '
    'of floor: the floor (by the ceilings measured in this run) over the time; error: relative, against float32'
)
COLORS = {
    'fast': '#1b6ca8',
    'compiled': '#2e8b57',
    'fused': '#7a4fa3',
    'graphed': '#c9a227',
    'fused+graphed': '#3b3b3b',
    'published': '#b5482f',
    'onnx': '#8c6d46',
}


def print_tables(outcome: dict[str, Any]) -> None:
    """A table per task, SST and scale, its rivals in it, what was not measured and why, and what the columns mean."""
    console = wide_console()
    console.print(describe_machine(outcome['machine']))
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in outcome['rows']:
        groups.setdefault((row['task'], row['against'], row['scale']), []).append(row)
    for rows in groups.values():
        console.print()
        models = {row['model']: row for row in rows if 'parameters' in row}
        for row in models.values():
            console.print(*describe_costs(row), sep='\n', soft_wrap=True)
        if measured := [row for row in rows if 'latency' in row]:
            console.print(make_table(measured))
        for row in rows:
            if reason := row.get('refused') or row.get('failed'):
                style = 'red' if 'failed' in row else None
                what = f'{short(row["model"])} {_way(row)}'
                console.print(f'not measured: {what}: {reason}', style=style, markup=False, soft_wrap=True)
    console.print(LEGEND, soft_wrap=True)


def wide_console() -> Console:
    """A console that prints tables whole where no terminal limits them."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LINE)


def describe_machine(machine: dict[str, Any]) -> str:
    return f'{machine["device"]}, {machine["threads"]} CPU threads, load {machine["load"]} at the start'


def short(model: str) -> str:
    """A model's name; an option file's without folder and ending."""
    return Path(model).stem if model.endswith(('.yml', '.yaml')) else model


def describe_costs(row: dict[str, Any]) -> list[str]:
    """What is computed, what follows from formulas, and what the paper measured if that was the same."""
    costs = f'{row["parameters"]:,} parameters, {row["multiply_adds"] / 1e9:,.1f} G multiply-adds'
    if 'floor' in row:
        published = f'{row["multiply_adds_as_published"] / 1e9:,.1f}'
        costs += f' ({published} as the paper counts), floor {_ms(row["floor"])} ms'
    lines = [
        f'{short(row["model"])} x{row["scale"]}, {row["task"]}, '
        f'{row["batch"]} x {row["width"]} x {row["height"]} LR pixels:',
        costs,
    ]
    paper, width = published_figures(row['model'], row['scale']), -(-OUTPUT_WIDTH // row['scale'])
    if 'latency' in paper and row['task'] == 'inference' and row['width'] == width:
        lines.append(f'in the paper {_ms(paper["latency"])} ms and {paper["memory"] / 1e6:.0f} MB on an H200')
    return lines


def make_table(rows: Sequence[dict[str, Any]]) -> Table:
    """The ways to compute one model in one task: times in ms, memory in MB. If there are several models, each has its
    name, and its time is also shown as a multiple of that of the SST that they are compared with."""
    several = len({row['model'] for row in rows}) > 1
    table = Table()
    if several:
        table.add_column('model', no_wrap=True)
    table.add_column('computed')
    ratio = [f'over {short(rows[0]["against"])}'] if several else []
    for heading in ('ms', *ratio, 'spread', 'speed', 'MB', 'of floor', 'error'):
        table.add_column(heading, justify='right', no_wrap=True)
    for row in rows:
        name = [short(row['model'])] if several else []
        table.add_row(*name, _way(row), *_figures(row, several), style='red' if row.get('wrong') else None)
    return table


def _way(row: dict[str, Any]) -> str:
    return way(row['mode'], row['backend'], row['dtype'])


def _figures(row: dict[str, Any], several: bool) -> list[str]:
    ratio = [f'{row["ratio"]:.2f}' if 'ratio' in row else '-'] if several else []
    return [
        _ms(row['latency']),
        *ratio,
        f'{row["spread"]:.1%}',
        f'{row["speed"]:.2f}' if 'speed' in row else '-',
        f'{row["memory"] / 1e6:,.0f}',
        f'{row["floor"] / row["latency"]:.0%}' if 'floor' in row else '-',
        f'{row["error"]:.0e}' + (' WRONG' if row['wrong'] else '') if 'error' in row else '-',
    ]


def _ms(seconds: float) -> str:
    return f'{1000 * seconds:.4g}' if seconds < 1 else f'{1000 * seconds:,.0f}'


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A line per row."""
    plain = [{key: value for key, value in row.items() if key not in LISTS} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in plain for key in row)), lineterminator='\n')
    writer.writeheader()
    writer.writerows(plain)
    atomic_write_text(path, text.getvalue())


def draw(outcome: dict[str, Any], figure: Any) -> None:
    """Latency of inference against the paper's PSNR on Urban100, one panel per scale; a point's area shows memory.

    Raises:
        UserError: there is no row to draw.
    """
    rows = [row for row in outcome['rows'] if row['task'] == 'inference' and 'latency' in row]
    rows = [row for row in rows if SET in published_figures(row['model'], row['scale'])['sets']]
    if not rows:
        raise UserError('no model of the paper was measured in inference')
    scales = sorted({row['scale'] for row in rows})
    figure.set_size_inches(1.5 + 4.5 * len(scales), 4.5)
    for axes, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        _draw(axes, [row for row in rows if row['scale'] == scale], largest=max(row['memory'] for row in rows))
        axes.set_title(f'x{scale}')
    figure.suptitle(f'{outcome["machine"]["device"]}; area of a point: memory')


def _draw(axes: Any, rows: Sequence[dict[str, Any]], largest: float) -> None:
    for row in rows:
        latency, psnr = 1000 * row['latency'], published_figures(row['model'], row['scale'])['sets'][SET]['psnr']
        axes.scatter(latency, psnr, 600 * row['memory'] / largest, COLORS[row['mode']], alpha=0.6)
        label = f'{row["model"]}\n{row["mode"]}, {row["memory"] / 1e6:,.0f} MB'
        axes.annotate(label, (latency, psnr), xytext=(0, 14), textcoords='offset points', ha='center', fontsize=8)
    axes.set_xscale('log')
    for axis_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis_formatter('{x:,.0f}')
    axes.margins(0.3)
    axes.grid(alpha=0.3)
    axes.set_xlabel('latency (ms)')
    axes.set_ylabel('PSNR on Urban100 in the paper (dB)')
