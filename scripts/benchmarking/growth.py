"""How the time and the memory of inference grow with the image: square LR images, whole and in tiles.

A whole pass shows what a network takes; it is measured as far as memory allows. `sst-upscale` cuts larger images into
tiles, so its memory grows with the width of the image alone. Both go through `sst.Upscaler`, as `sst-upscale` does.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from rich.table import Table

from benchmarking import run
from benchmarking.passes import ONE_TILE, Point
from benchmarking.report import describe_machine, short, wide_console
from sst.checkpoints.networks import built
from sst.utils.errors import UserError
from standings.entries import Entry

SIDES = (64, 128, 256, 512, 1024, 2048)  # LR pixels
WAYS = {'whole': 'o', 'tiles': 's'}  # and their markers
LIMIT = 4 * 3600  # seconds of one process
LEGEND = (
    'power: the time grows like pixels ** power, from the size before; tiles: as sst-upscale cuts the image; '
    'MB: on the CPU how much the process grew'
)

Result = dict[str, Any]


def grow(
    models: Sequence[str],
    scales: Sequence[int],
    sides: Sequence[int],
    device: str,
    *,
    seconds: float,
    rounds: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure networks at every side: whole, and in tiles where `sst-upscale` takes several. Ctrl-C ends it.

    Args:
        models (Sequence[str]), scales (Sequence[int]): the networks.
        sides (Sequence[int]): LR pixels.
        device (str): where they run.
        seconds (float): repeat a pass until they are over.
        rounds (int): processes for each point, in turn.
        threads (int | None): of the CPU; None: as torch chooses.

    Returns:
        dict: `machine`, `rounds`, `interrupted` and `rows`, one mapping each: the fields of `Point` with `pixels`, and
            either `refused` or `failed` with the reason, or `latency`, `spread`, `memory` and `times` as of `run.run`,
            `tiles` and, from the second size of a way on, `power` (see `add_powers`).

    Raises:
        UserError: a network cannot be built, or the machine could not be measured.
    """
    for model, scale in product(models, scales):
        built(Entry(model, scale).options()['network_g'], 'meta')
    points = [
        Point(model, scale, side, way, device, seconds)
        for model, scale, side, way in product(models, scales, sorted(set(sides)), WAYS)
    ]
    tasks = {point: {'point': asdict(point), 'threads': threads, 'limit': LIMIT} for point in points}
    machine = run.measure_machine(device, threads)['machine']
    answers, interrupted = run.in_rounds(tasks, rounds)
    rows = []
    for point, found in answers.items():
        facts = run.combined(found)
        if facts.get('refused') == ONE_TILE:
            continue
        if 'latency' in facts:
            facts['tiles'] = found[0]['tiles']
        rows.append(asdict(point) | {'pixels': point.pixels} | facts)
    add_powers(rows)
    return {'machine': machine, 'rounds': rounds, 'interrupted': interrupted, 'rows': rows}


def add_powers(rows: Sequence[Result]) -> None:
    """Set `power`: the time grows like pixels ** power, from the size before in the same way; 1 is a straight line."""
    before: dict[tuple, Result] = {}
    for row in rows:
        if 'latency' not in row:
            continue
        key = (row['model'], row['scale'], row['way'])
        if smaller := before.get(key):
            row['power'] = math.log(row['latency'] / smaller['latency']) / math.log(row['pixels'] / smaller['pixels'])
        before[key] = row


def print_table(outcome: dict[str, Any]) -> None:
    """A table per network, and what was not measured and why."""
    console = wide_console()
    console.print(describe_machine(outcome['machine']))
    for rows in by_network(outcome['rows']).values():
        table = Table(title=f'{short(rows[0]["model"])} x{rows[0]["scale"]}', title_justify='left')
        for heading in ('LR', 'computed', 'tiles', 's', 's per megapixel', 'power', 'spread', 'MB'):
            table.add_column(heading, justify='left' if heading == 'computed' else 'right', no_wrap=True)
        for row in rows:
            if 'latency' in row:
                table.add_row(*_cells(row))
        console.print(table)
        for row in rows:
            if reason := row.get('refused') or row.get('failed'):
                what = f'{row["side"]} x {row["side"]} {row["way"]}'
                console.print(f'not measured: {what}: {reason}', markup=False, soft_wrap=True)
    console.print(LEGEND, soft_wrap=True)


def _cells(row: Result) -> list[str]:
    return [
        f'{row["side"]} x {row["side"]}',
        row['way'],
        str(row['tiles']),
        f'{row["latency"]:.3g}',
        f'{1e6 * row["latency"] / row["pixels"]:.3g}',
        f'{row["power"]:.2f}' if 'power' in row else '-',
        f'{row["spread"]:.1%}',
        f'{row["memory"] / 1e6:,.0f}',
    ]


def by_network(rows: Sequence[Result]) -> dict[tuple[str, int], list[Result]]:
    """The rows of each model and scale."""
    networks: dict[tuple[str, int], list[Result]] = {}
    for row in rows:
        networks.setdefault((row['model'], row['scale']), []).append(row)
    return networks


def draw(outcome: dict[str, Any], figure: Any) -> None:
    """Time and memory over pixels, both axes logarithmic; grey: slope one, in proportion to the pixels.

    Raises:
        UserError: there is no row to draw.
    """
    rows = [row for row in outcome['rows'] if 'latency' in row]
    if not rows:
        raise UserError('nothing was measured')
    figure.set_size_inches(12, 5)
    for axes, (key, factor, label) in zip(
        figure.subplots(1, 2), (('latency', 1, 'time (s)'), ('memory', 1e-6, 'memory (MB)')), strict=True
    ):
        for number, found in enumerate(by_network(rows).values()):
            for way, marker in WAYS.items():
                points = [(row['pixels'], factor * row[key]) for row in found if row['way'] == way]
                if points:
                    name = f'{short(found[0]["model"])} x{found[0]["scale"]}, {way}'
                    axes.plot(*zip(*points, strict=True), f'C{number}{marker}-', label=name,
                              fillstyle='full' if way == 'whole' else 'none')  # fmt: skip
            _proportional(axes, [(row['pixels'], factor * row[key]) for row in found if row['way'] == 'whole'])
        sides = sorted({row['side'] for row in rows})
        axes.set(xscale='log', yscale='log', xlabel='LR pixels', ylabel=label)
        axes.set_xticks([side**2 for side in sides], [f'{side}²' for side in sides])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(
        f'{outcome["machine"]["device"]}, {outcome["machine"]["threads"]} CPU threads; grey: proportional to pixels'
    )


def _proportional(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """The line of slope one through the last of these points, which are in order."""
    if points:
        pixels, value = points[-1]
        start = points[0][0]
        axes.plot([start, pixels], [value * start / pixels, value], color='grey', linestyle='--', zorder=0)
