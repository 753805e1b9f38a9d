"""The outcome of ablations as tables in the paper's layout, and as a chart."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ablating.budgets import DEMO_NETWORK, SHRINK, demo_network
from ablating.running import Outcome
from ablating.variants import TITLES, Variant, variants
from reporting.grid import Cell, Grid
from sst.checkpoints.networks import built
from sst.options import load_options
from sst.utils.errors import UserError

PAPER_SETS = ('Urban100', 'Manga109')
Results = dict[tuple[str, int], Outcome]  # by option file and seed


def table_of(name: str, results: Results, budget: str, iterations: int) -> Grid:
    """A table in the paper's layout: a row for each variant, ours (mean and deviation of the seeds) and published."""
    rows = variants(name)
    sets = list(dict.fromkeys(s for outcome in results.values() for s in outcome.sets))
    shown = [*sets, *(s for s in PAPER_SETS if s not in sets)]
    inference = ['latency (ms)', 'inference (MB)'] if name == 'bias' else []
    headings = ['', 'runs', 'parameters (M)', 's/step', 'training (GB)', *inference]
    grid = Grid(TITLES[name], [*headings, *(f'{s} PSNR / SSIM' for s in shown)])
    for variant in rows:
        outcomes = [results[key] for key in sorted(results) if key[0] == variant.file]
        published = variant.published
        cells: list[Cell | str] = [
            variant.label,
            str(len([o for o in outcomes if o.final])),
            Cell(f'{parameters(variant, budget) / 1e6:.3f}', _shown(published.get('params_m'), '{:.1f}')),
            Cell(_mean([o.seconds for o in outcomes], '{:.3g}'), _shown(published.get('train_seconds'), '{:.3f}')),
            Cell(_mean([o.memory for o in outcomes], '{:.3g}'), _shown(published.get('train_gb'), '{:.1f}')),
        ]
        if name == 'bias':
            cells += [
                Cell(_mean([o.latency for o in outcomes], '{:,.4g}'), _shown(published.get('latency_ms'), '{:,.1f}')),
                Cell(_mean([o.inference for o in outcomes], '{:,.0f}'), _shown(published.get('memory_mb'), '{:,.0f}')),
            ]
        for data in shown:
            here = data in sets or not sets  # if nothing converged there is no set of ours
            cells.append(Cell(quality(outcomes, data) if here else '', _published(published, data)))
        grid.add(*cells)
    files = {variant.file for variant in rows}
    grid.notes += [f'{o.name}: {o.end}' for key, o in results.items() if not o.final and key[0] in files]
    if budget == 'demo':
        grid.notes.append(
            f'Ours: networks of {DEMO_NETWORK["num_blocks"]} block, dim {DEMO_NETWORK["dim"]} and windows and patches '
            f'of 1/{SHRINK}, on the demo photographs, {iterations:,} iterations. Published: full size, 500,000 '
            'iterations. Compare ours with ours alone.'
        )
    return grid.without_empty_columns()


def parameters(variant: Variant, budget: str) -> int:
    network = load_options(variant.path)['network_g']
    net = built(demo_network(network) if budget == 'demo' else network, 'meta')
    return sum(weight.numel() for weight in net.parameters())


def quality(outcomes: Sequence[Outcome], data: str) -> str:
    """Mean and deviation of PSNR and SSIM, or that runs did not converge."""
    diverged = [f'{o.iteration:,}' for o in outcomes if o.end == 'diverged']
    found = [o.sets[data] for o in outcomes if data in o.sets]
    texts = []
    if found:
        psnr, ssim = (_mean([row.get(metric) for row in found], form) for metric, form in
                      (('psnr', '{:.2f}'), ('ssim', '{:.4f}')))  # fmt: skip
        texts.append(f'{psnr} / {ssim}')
    if diverged:
        texts.append(f'not converged after iteration {", ".join(diverged)}')
    return '; '.join(texts)


def _mean(values: Iterable[float | None], form: str) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return ''
    mean = form.format(statistics.fmean(there))
    return mean if len(there) == 1 else f'{mean} ± {form.format(statistics.stdev(there))}'


def _published(published: dict[str, Any], data: str) -> str:
    if published.get('converged') is False and data in PAPER_SETS:
        return 'not converged'
    pair = published.get('sets', {}).get(data)
    return f'{pair[0]:.2f} / {pair[1]:.4f}' if pair else ''


def _shown(value: float | None, form: str) -> str:
    return '' if value is None else form.format(value)


def draw(outcome: dict[str, Any], figure: Any) -> None:
    """PSNR of each row: a point for each seed, a line for the mean.

    Raises:
        UserError: no run has a PSNR.
    """
    points = [(table, row, psnr) for table, rows in outcome['psnr'].items() for row, psnr in rows.items() if psnr]
    if not points:
        raise UserError('no run has a PSNR')
    named = list(dict.fromkeys(table for table, _, _ in points))
    figure.set_size_inches(7, 0.8 + 0.42 * len(points) + 0.5 * len(named))
    heights = [sum(1 for point in points if point[0] == table) for table in named]
    grid = figure.subplots(len(named), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, table in zip(grid, named, strict=True):
        rows = [(row, psnr) for name, row, psnr in points if name == table][::-1]
        for place, (_, psnr) in enumerate(rows):
            mean = statistics.fmean(psnr)
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color='#1b6ca8')
            axes.scatter(psnr, [place] * len(psnr), 16, '#1b6ca8', alpha=0.6)
        axes.set_yticks(range(len(rows)), [row for row, _ in rows], fontsize=8)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_title(TITLES[table], fontsize=9, loc='left')
        axes.grid(alpha=0.3)
    grid[-1].set_xlabel(f'PSNR on {outcome["set"]} (dB)')
